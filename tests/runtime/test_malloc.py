from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from pu_unet_monai.runtime import memory
from pu_unet_monai.runtime.malloc import frugal_malloc, generous_malloc, keep_freed_memory, kept_bytes
from pu_unet_monai.runtime.memory import available_bytes, resident_bytes

MIB = 1024 * 1024
HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc alone")


def test_frugal_malloc_gives_blocks_back() -> None:
    torch.zeros(7 * MIB)  # 28 MiB, freed: from now on glibc takes smaller blocks from its heap
    with frugal_malloc():
        blocks = [torch.ones(MIB) for _ in range(64)]
        held = resident_bytes()
        del blocks[:-1]  # the last one would pin the heap
        assert resident_bytes() < held - 150 * MIB


def faulted_pages(megabytes: int) -> int:
    """Count the pages that the system hands out for one block after another."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(24):
        torch.ones(megabytes * MIB, dtype=torch.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def test_generous_malloc_hands_freed_blocks_out_again() -> None:
    usual = faulted_pages(64)
    before = resident_bytes()
    with generous_malloc():
        assert faulted_pages(64) < usual / 4
        assert resident_bytes() > before + 50 * MIB
    assert resident_bytes() < before + 20 * MIB
    assert faulted_pages(64) > usual / 2


def test_memory_is_kept_from_one_time_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    before = resident_bytes()
    with keep_freed_memory():
        for _ in range(2):
            with generous_malloc():
                pages = faulted_pages(64)
        assert pages < 64 * MIB // resource.getpagesize() / 4  # the second time next to none
        assert resident_bytes() > before + 50 * MIB
        assert kept_bytes() > 50 * MIB
        monkeypatch.setattr(memory.psutil, "virtual_memory", lambda: SimpleNamespace(available=MIB))
        assert available_bytes("cpu") > 50 * MIB  # what is kept can be taken
        with frugal_malloc():  # for a case that needs all there is
            assert resident_bytes() < before + 20 * MIB
            faulted_pages(64)
            assert kept_bytes() < 10 * MIB  # each block was given back
    assert resident_bytes() < before + 20 * MIB
    with generous_malloc():
        torch.ones(64 * MIB, dtype=torch.uint8)
    assert resident_bytes() < before + 20 * MIB


@pytest.mark.skipif(not HUGE_PAGES.exists() or "[never]" in HUGE_PAGES.read_text(), reason="no huge pages here")
@pytest.mark.parametrize(("value", "huge"), [(None, True), ("0", False)])
def test_huge_pages_from_the_command_line_on(value: str | None, huge: bool) -> None:
    program = (
        "import resource, pu_unet_monai.__main__ as m, pu_unet_monai.commands.predict, torch\n"
        "try: m.main(['--version'])\n"
        "except SystemExit: pass\n"
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
