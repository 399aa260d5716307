"""What memory a process holds, and what it may still take."""

from __future__ import annotations

import math
import os
import re
import sys
from pathlib import Path

import psutil
import torch

from pu_unet_monai.errors import UserError
from pu_unet_monai.runtime.malloc import kept_bytes

__all__ = [
    "available_bytes",
    "format_bytes",
    "parse_bytes",
    "peak_resident_bytes",
    "resident_bytes",
]


def resident_bytes() -> int:
    """Return the memory that this process holds now (resident set size)."""
    return psutil.Process().memory_info().rss


def peak_resident_bytes() -> int:
    """Return the most memory that this process has held since it started."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would include the parent's memory before exec
        match = re.search(r"VmHWM:\s*(\d+) kB", status.read_text())
        if match:
            return int(match[1]) * 1024
    peak_on_windows = getattr(psutil.Process().memory_info(), "peak_wset", None)
    if peak_on_windows is not None:
        return peak_on_windows
    import resource  # which Windows lacks

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1024 if sys.platform == "linux" else 1)


def available_bytes(device: torch.device | str) -> int:
    """Return how much memory may still be taken on a device.

    Args:
        device: on CUDA, what is free there and what PyTorch holds without using it; on any other device, what the
            system can give without swapping, within the limits of the process's control groups (containers), in equal
            parts to the processes that ``torchrun`` started on this machine, and what this process's malloc keeps.
    """
    device = torch.device(device)
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    available = min(psutil.virtual_memory().available, *_free_in_control_groups())
    return int(available) // int(os.environ.get("LOCAL_WORLD_SIZE", 1)) + kept_bytes()


def _free_in_control_groups(
    membership: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")
) -> list[float]:
    """Return what is left in each control group with a limit, version 1 or 2, around this process; at least inf."""
    free = [math.inf]
    for line in membership.read_text().splitlines() if membership.exists() else ():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            names, mount = ("memory.max", "memory.current", "inactive_file"), root
        elif "memory" in controllers.split(","):
            names, mount = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"), root / "memory"
        else:
            continue
        folder = mount / path.lstrip("/")
        while True:  # in a container, the path may be the host's: then the mount itself is the group
            free += _free_in_control_group(folder, *names)
            if folder == mount:
                break
            folder = folder.parent
    return free


def _free_in_control_group(folder: Path, limit: str, usage: str, reclaimable: str) -> list[int]:
    try:
        most, used = (folder / limit).read_text().strip(), int((folder / usage).read_text())
        statistics = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    except OSError:
        return []
    if most == "max":
        return []
    # file pages that nobody reads any more count as used, but are given up on demand
    return [max(int(most) - used + int(statistics.get(reclaimable, 0)), 0)]


_UNITS = {
    prefix + suffix: base**power
    for base, suffix in ((1000, "b"), (1024, "ib"))
    for power, prefix in enumerate(("", "k", "m", "g", "t"))
    if prefix or suffix == "b"
}


def parse_bytes(value: int | float | str) -> int:
    """Read a ``memory_budget``: a number of bytes, or a text such as ``"2GB"`` (10^9) or ``"1.5 GiB"`` (2^30).

    Raises:
        UserError: if it is not a positive amount.
    """
    match = re.fullmatch(r"\s*([0-9.]+(?:e[0-9]+)?)\s*([kmgt]?i?b)?\s*", str(value).lower())
    try:
        size = int(float(match[1]) * _UNITS[match[2] or "b"]) if match else 0
    except (KeyError, ValueError):
        size = 0
    if size <= 0:
        raise UserError(
            f"memory_budget must be a positive number of bytes, or a text such as 2GB or 1.5GiB, got {value!r}."
        )
    return size


def format_bytes(size: int | float) -> str:
    """Write an amount of memory for a message: ``"1.45 GB"``, ``"312 MB"`` (powers of 1000)."""
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
