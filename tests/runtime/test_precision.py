from __future__ import annotations

from pathlib import Path

import pytest

from pu_unet_monai.runtime.precision import cpu_is_fast_in_bfloat16

CPU_INFO = Path("/proc/cpuinfo")


@pytest.mark.skipif(not CPU_INFO.exists(), reason="no /proc/cpuinfo on this system")
def test_agrees_with_the_operating_system() -> None:
    flags = set(CPU_INFO.read_text().split())
    assert cpu_is_fast_in_bfloat16() == bool(flags & {"amx_tile", "avx512_bf16"})
