"""Where the processes of one machine listen, whatever address the machine's name leads to."""

from __future__ import annotations

import json
import shlex
import socket
import subprocess
from ipaddress import ip_address
from pathlib import Path

import psutil
import pytest

from tests.bundles.conftest import child_environment
from tests.conftest import PYTHON

LISTEN = """
import json, os, sys
from pathlib import Path
import psutil
from pu_unet_monai.runtime.processes import Processes, join_processes

def listening(process):
    return [connection.laddr.ip for connection in process.net_connections("inet") if connection.status == "LISTEN"]

if sys.argv[1] == "predict":
    processes = Processes()
    processes.agree(0)
else:
    join_processes("gloo")
found = {"torchrun": listening(psutil.Process().parent()), "own": listening(psutil.Process())}
Path(sys.argv[2], os.environ["RANK"]).write_text(json.dumps(found))
if sys.argv[1] == "predict":
    processes.gather(0)
"""


def outer_address() -> str:
    found = [one.address for each in psutil.net_if_addrs().values() for one in each if one.family == socket.AF_INET]
    outer = [address for address in found if not ip_address(address).is_loopback]
    if not outer:
        pytest.skip("this machine has no address but loopback")
    return outer[0]


@pytest.mark.parametrize("command", ["predict", "training"])
def test_processes_listen_on_loopback(tmp_path: Path, command: str) -> None:
    """But for ``torchrun`` itself, as SECURITY.md says; if PyTorch mends that, this test asks to say so."""
    unshare = ["unshare", "--mount", "--map-root-user"]
    if subprocess.run([*unshare, "true"], check=False, capture_output=True).returncode:
        pytest.skip("a name of its own needs mount namespaces")
    hosts, program = tmp_path / "hosts", tmp_path / "listen.py"
    hosts.write_text(f"127.0.0.1 localhost\n{outer_address()} {socket.gethostname()}\n")
    program.write_text(LISTEN)
    torchrun = [PYTHON, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    run = shlex.join([*torchrun, str(program), command, str(tmp_path)])
    script = f"mount --bind {shlex.quote(str(hosts))} /etc/hosts && exec {run}"
    done = subprocess.run(
        [*unshare, "sh", "-c", script], env=child_environment(), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    for rank in "01":
        found = json.loads((tmp_path / rank).read_text())
        assert found["own"]
        assert {ip_address(address).is_loopback for address in found["own"]} == {True}, found
        assert "::" in found["torchrun"]
