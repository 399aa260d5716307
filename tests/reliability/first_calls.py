"""Programs that have called no vector function yet, in each of which two threads call one at the same moment.

``python -m tests.reliability.first_calls NUMBER [--settled]`` prints how many of so many programs had another result
than the first; with ``--settled`` all functions have been called by one thread before.
"""

from __future__ import annotations

import os
import struct
import sys
import threading

import torch

from pu_unet_monai.vector_math import settle_vector_math

SIZE = 7


def results() -> list[bytes]:
    """Return the bits that each of two threads gets."""
    start, found = threading.Barrier(2), []
    some = torch.linspace(-2, 2, SIZE)

    def call() -> None:
        start.wait()
        found.append(struct.pack(f"{SIZE}f", *torch.erf(some).tolist()))

    threads = [threading.Thread(target=call) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def of_a_program() -> bytes:
    """Return the results of a process of its own, which has this one's modules."""
    reader, writer = os.pipe()
    if not (child := os.fork()):
        os.write(writer, b"".join(results()))
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        content = file.read()
    os.waitpid(child, 0)
    return content


if __name__ == "__main__":
    torch.set_num_threads(1)
    if "--settled" in sys.argv:
        settle_vector_math()
    first, *others = (of_a_program() for _ in range(int(sys.argv[1])))
    print(sum(content != first for content in others))
