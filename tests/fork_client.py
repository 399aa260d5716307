"""Stands for Python: programs of this project are run by ``fork_server.py``, all else by Python itself."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time

PROGRAMS = ("experiments", "monai.bundle", "pu_unet_monai", "torch.distributed.run")
LONGEST_START = 120
"""Seconds."""


def run(address: str, program: dict[str, object]) -> int:
    """Have the server run a program with this process's streams; return its exit code, negative for a signal."""
    with socket.socket(socket.AF_UNIX) as server:
        begun = time.monotonic()
        while server.connect_ex(address):  # until its imports are done
            if time.monotonic() - begun > LONGEST_START:
                sys.exit("tests/fork_server.py does not answer; PU_UNET_TESTS=full does without it")
            time.sleep(0.05)
        message = json.dumps(program).encode()
        socket.send_fds(server, [len(message).to_bytes(4, "little")], [0, 1, 2])
        server.sendall(message)
        answers = server.makefile()
        process = int(answers.readline())
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _: os.kill(process, number))
        return os.waitstatus_to_exitcode(int(answers.readline()))


def main(address: str, executable: str, python: str, *arguments: str) -> None:
    module = arguments[arguments[0] == "-u" :]
    if module[:1] != ("-m",) or not module[1].startswith(PROGRAMS):
        os.execv(python, [python, *arguments])
    folder = os.getcwd()  # noqa: PTH109, pathlib would be one more import
    program = {"module": module[1], "arguments": module[2:], "folder": folder, "executable": executable}
    code = run(address, program | {"environment": dict(os.environ)})
    if code < 0:
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)


if __name__ == "__main__":
    main(*sys.argv[1:])
