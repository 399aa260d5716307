"""Runs ``python -m`` programs in forks of a process that has done their imports, which take longer than the rest.

A program is as a user starts it but for that: a process of its own, with its own arguments, folder, environment and
streams, that ends as Python ends. ``fork_client.py`` asks for it.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import random
import runpy
import select
import signal
import socket
import sys
from typing import Any

import numpy as np
import torch

MODULES = (
    *("fire", "ignite.engine", "matplotlib.pyplot", "monai.bundle", "monai.handlers", "nibabel"),
    *("torch.utils.tensorboard", "scipy.stats", "pu_unet_monai.commands.predict", "pu_unet_monai.comparison"),
    *("pu_unet_monai.handlers", "pu_unet_monai.losses", "pu_unet_monai.metrics", "pu_unet_monai.networks.nets"),
)


def serve(address: str) -> dict[str, Any]:
    """Start programs until standard input ends; return, in the new process of each, what was asked for."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(address)
        server.listen()
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the processes that wait
        while sys.stdin not in select.select([server, sys.stdin], [], [])[0]:
            client, _ = server.accept()
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                return start(client)
            client.close()
    sys.exit()


def start(client: socket.socket) -> dict[str, Any]:
    """Start one program, tell the client how it ends, and end it if the client ends first."""
    length, streams, _, _ = socket.recv_fds(client, 4, 3)
    program = json.loads(client.recv(int.from_bytes(length, "little"), socket.MSG_WAITALL))
    process = os.fork()
    if process == 0:
        client.close()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        return program
    for stream in streams:
        os.close(stream)
    client.sendall(f"{process}\n".encode())
    ended = os.pidfd_open(process)
    if ended not in select.select([client, ended], [], [])[0]:
        os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    client.sendall(f"{status}\n".encode())
    os._exit(0)


def become(program: dict[str, Any]) -> None:
    """Take the folder, the environment and the arguments of a program."""
    os.environ.clear()
    os.environ.update(program["environment"])
    os.chdir(program["folder"])
    added = program["environment"].get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:1] = [program["folder"], *filter(None, added)]
    sys.argv = [program["module"], *program["arguments"]]
    sys.executable = program["executable"]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    random.seed()  # a program that forgets a seed must not be the same twice
    np.random.seed()  # noqa: NPY002, of the state that libraries share
    torch.seed()


if __name__ == "__main__":
    for name in MODULES:
        importlib.import_module(name)
    gc.freeze()  # a collection would touch, and so copy, all pages of each fork
    asked = serve(sys.argv[1])
    become(asked)
    runpy.run_module(asked["module"], run_name="__main__", alter_sys=True)
