from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from pu_unet_monai.errors import UserError
from pu_unet_monai.runtime.memory import (
    _free_in_control_groups,
    available_bytes,
    format_bytes,
    parse_bytes,
    peak_resident_bytes,
    resident_bytes,
)

MIB = 1024 * 1024


def test_resident_memory() -> None:
    before = resident_bytes()
    block = torch.ones(64 * MIB, dtype=torch.uint8)
    assert resident_bytes() > before + 50 * MIB
    peak = peak_resident_bytes()
    assert peak >= resident_bytes() - MIB  # the kernel counts pages in batches
    del block
    assert peak_resident_bytes() >= peak - MIB
    assert 0 < available_bytes("cpu") < 2**50


STATISTICS = "anon 1\ninactive_file {0}\ntotal_inactive_file {0}"


@pytest.mark.parametrize(
    ("lines", "group", "names"),
    [
        ("0::/pod/app", "pod/app", ("memory.max", "memory.current")),
        (
            "9:name=systemd:/x\n4:cpu,memory:/pod/app\n0::/",
            "memory/pod/app",
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ),
    ],
    ids=["version 2", "version 1"],
)
def test_control_groups(tmp_path: Path, lines: str, group: str, names: tuple[str, str]) -> None:
    membership = tmp_path / "cgroup"
    membership.write_text(lines)

    def limit(folder: Path, most: str, used: int, reclaimable: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in zip((*names, "memory.stat"), (most, str(used), STATISTICS.format(reclaimable)), strict=True):
            (folder / name).write_text(f"{text}\n")

    assert _free_in_control_groups(membership, tmp_path) == [math.inf]  # the host's path, seen from a container
    limit(tmp_path / group, "3000", 1000, 500)
    assert min(_free_in_control_groups(membership, tmp_path)) == 2500
    limit((tmp_path / group).parent, "2000", 1900, 0)
    assert min(_free_in_control_groups(membership, tmp_path)) == 100
    limit((tmp_path / group).parent, "1000", 1900, 0)
    assert min(_free_in_control_groups(membership, tmp_path)) == 0
    limit((tmp_path / group).parent, "max" if names[0] == "memory.max" else str(2**63 - 4096), 1900, 0)
    assert min(_free_in_control_groups(membership, tmp_path)) == 2500


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2GB", 2_000_000_000),
        ("1.5 GiB", 1_610_612_736),
        (" 512 mb ", 512_000_000),
        ("64KiB", 65_536),
        ("1TB", 10**12),
        ("100", 100),
        ("3e9", 3_000_000_000),
        (2e9, 2_000_000_000),
        (2**31, 2**31),
    ],
)
def test_parse_bytes(value: Any, expected: int) -> None:
    assert parse_bytes(value) == expected


@pytest.mark.parametrize("value", ["", "2 apples", "1.2.3GB", "GB", "-2GB", "nan", 0, -1, True, None, math.inf])
def test_parse_bytes_refuses(value: Any) -> None:
    with pytest.raises(UserError, match=r"memory_budget must be a positive .* 2GB or 1.5GiB, got"):
        parse_bytes(value)


@pytest.mark.parametrize(("size", "text"), [(1.454e9, "1.45 GB"), (10**9, "1.00 GB"), (312.4e6, "312 MB"), (0, "0 MB")])
def test_format_bytes(size: float, text: str) -> None:
    assert format_bytes(size) == text


def test_processes_of_torchrun_share_the_memory(monkeypatch):
    whole = available_bytes("cpu")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert available_bytes("cpu") == pytest.approx(whole / 4, rel=0.2)
