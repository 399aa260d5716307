from __future__ import annotations

import multiprocessing
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest
import torch

from pu_unet_monai.runtime import memory
from pu_unet_monai.runtime.malloc import frugal_malloc, generous_malloc, keep_freed_memory, kept_bytes
from pu_unet_monai.runtime.memory import available_bytes, resident_bytes

MIB = 1024 * 1024
HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc alone")


@pytest.fixture
def new_process() -> Iterator[ProcessPoolExecutor]:
    """Return a process where no other test has left a mark on malloc.

    A block that the system refuses once makes glibc move the thread to another arena for good, and there it maps each
    large block anew. And without huge pages, for which the import of the package asks: the system has them or not, and
    then a block takes 32 of them or 16,384 small ones.
    """
    small_pages = mock.patch.dict(os.environ, THP_MEM_ALLOC_ENABLE="0")
    with small_pages, ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


def frugal() -> tuple[int, int]:
    torch.zeros(7 * MIB)  # 28 MiB, freed: from now on glibc takes smaller blocks from its heap
    with frugal_malloc():
        blocks = [torch.ones(MIB) for _ in range(64)]
        held = resident_bytes()
        del blocks[:-1]  # the last one would pin the heap
        return held, resident_bytes()


def test_frugal_malloc_gives_blocks_back(new_process: ProcessPoolExecutor) -> None:
    held, left = new_process.submit(frugal).result()
    assert left < held - 150 * MIB


LARGER = 160
"""Megabytes that fit nowhere in what two blocks of 64 have left in the heap, if a small one came to lie behind them."""


def faulted_pages(megabytes: int) -> int:
    """Count the pages that the system hands out for one block after another."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(24):
        torch.ones(megabytes * MIB, dtype=torch.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def generous() -> tuple[list[int], list[int]]:
    """Return the pages and the bytes before, within and after."""
    pages, resident = [faulted_pages(64)], [resident_bytes()]
    with generous_malloc():
        pages.append(faulted_pages(64))
        resident.append(resident_bytes())
    resident.append(resident_bytes())
    pages.append(faulted_pages(LARGER))
    return pages, resident


def test_generous_malloc_hands_freed_blocks_out_again(new_process: ProcessPoolExecutor) -> None:
    (usual, within, after), (before, held, left) = new_process.submit(generous).result()
    assert within < usual / 4
    assert held > before + 50 * MIB
    assert left < before + 20 * MIB
    assert after > usual / 2


def kept() -> dict[str, int]:
    """Return the pages of the second time, and by how many bytes the process has grown at each point."""
    seen = {}
    before = resident_bytes()
    with keep_freed_memory():
        for _ in range(2):
            with generous_malloc():
                seen["pages"] = faulted_pages(64)
        seen["between"], seen["kept"] = resident_bytes() - before, kept_bytes()
        with mock.patch.object(memory.psutil, "virtual_memory", return_value=SimpleNamespace(available=MIB)):
            seen["available"] = available_bytes("cpu")
        with frugal_malloc():  # for a case that needs all there is
            seen["frugal"] = resident_bytes() - before
            faulted_pages(LARGER)
            seen["kept_of_frugal"] = kept_bytes()
    seen["after"] = resident_bytes() - before
    with generous_malloc():
        torch.ones(64 * MIB, dtype=torch.uint8)
    seen["next"] = resident_bytes() - before
    return seen


def test_memory_is_kept_from_one_time_to_the_next(new_process: ProcessPoolExecutor) -> None:
    seen = new_process.submit(kept).result()
    assert seen["pages"] < 64 * MIB // resource.getpagesize() / 4  # the second time next to none
    assert seen["between"] > 50 * MIB
    assert seen["kept"] > 50 * MIB
    assert seen["available"] > 50 * MIB  # what is kept can be taken
    assert seen["frugal"] < 20 * MIB
    assert seen["kept_of_frugal"] < 10 * MIB  # each block was given back
    assert seen["after"] < 20 * MIB
    assert seen["next"] < 20 * MIB


@pytest.mark.skipif(not HUGE_PAGES.exists() or "[never]" in HUGE_PAGES.read_text(), reason="no huge pages here")
@pytest.mark.parametrize(
    ("value", "first", "huge"),
    [(None, "", True), ("0", "", False), (None, "run_as_predict()", True), (None, "run_as_pytorch()", False)],
)
def test_huge_pages_from_the_import_on(value: str | None, first: str, huge: bool) -> None:
    program = (
        "import resource, monai.bundle, torch\n"
        f"{f'from benchmarks.run_as import *; {first}' if first else 'import pu_unet_monai'}\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "torch.ones(64 * 1024 * 1024, dtype=torch.uint8)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)"
    )
    given = {key: set_to for key, set_to in os.environ.items() if key != "THP_MEM_ALLOC_ENABLE"}
    if value is not None:
        given["THP_MEM_ALLOC_ENABLE"] = value
    output = subprocess.run([sys.executable, "-c", program], env=given, check=True, capture_output=True, text=True)
    small_pages = 64 * MIB // resource.getpagesize()
    assert (int(output.stdout.splitlines()[-1]) < small_pages / 2) == huge
