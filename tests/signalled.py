"""Programs that get a signal in the middle of what they do."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable

from tests.bundles.conftest import child_environment

__all__ = ["signalled"]

LONGEST = 300


def signalled(
    command: list[str], number: signal.Signals, begun: Callable[[int], bool], later: float = 0
) -> subprocess.CompletedProcess[str]:
    """Run a program to which a signal is sent when it has begun something.

    Args:
        command: the program, for which Ctrl-C counts as if it were typed.
        number: the signal.
        begun: tells by the program's process ID whether it has.
        later: seconds to wait from then on.
    """
    process = subprocess.Popen(
        command,
        env=child_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + LONGEST
    while not begun(process.pid):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    time.sleep(later)
    assert process.poll() is None, process.communicate()
    process.send_signal(number)
    out, error = process.communicate(timeout=LONGEST)
    return subprocess.CompletedProcess(command, process.returncode, out, error)
