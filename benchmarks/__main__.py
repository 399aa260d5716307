"""All benchmarks one after another, and one table of what was aimed at and what was found: ``make bench``.

    python -m benchmarks                              # about an hour on one core
    python -m benchmarks --only runtimes loading      # some of them

Each runs in a process of its own, on one core and one thread. With ``PU_UNET_DATA_DIR`` the volumes are real heads,
else synthetic ones, whose Dice says nothing. Other programs beside it make the times longer and the intervals wider.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from benchmarks.reporting import Goal, goals_text
from data_prep import volume_phantom
from pu_unet_monai.evaluation.tables import write_results
from pu_unet_monai.files import read_json
from pu_unet_monai.runtime.machine import machine

WITHOUT_AVX512 = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
HEADS = ("BraTS2021_01478.nii.gz", "BraTS2021_01476.nii.gz")
"""The first was in no training of the bundle's weights."""
SCORED = {
    "pu_against_baseline": "time and training bytes, PU / baseline, on a CPU",
    "gpu": "latency (at most 1.005) and training step, PU / baseline, on a GPU: python -m benchmarks.gpu",
    "runtimes": "one forward, best runtime against PyTorch in float32 as it comes",
    "runtimes_avx2": "one forward, best runtime against PyTorch in float32 as it comes, AVX2",
    "volume_pipeline": "whole volume against MONAI's default",
    "volume_pipeline_avx2": "whole volume against MONAI's default, AVX2",
    "loading": "load and preprocess one 4-channel case against MONAI's chain",
}
"""Results whose goals make up the table, in its order, and what they are about."""


READING = (
    "Ratios of CPU time over pairs, medians with 95 % intervals; the median decides (loading: the interval's lower "
    "end). AVX2: oneDNN and PyTorch held to it, while OpenVINO keeps AVX-512 for what is no convolution. Each row's "
    "own table, raw times and machine: the files of its benchmark."
)


@dataclass(frozen=True)
class Step:
    """A benchmark: a module, its options, environment variables, on how many heads it runs, and if it scores them."""

    name: str
    module: str
    options: Sequence[str] = ()
    environment: dict[str, str] = field(default_factory=dict)
    heads: int = 0
    labels: bool = True


STEPS = [
    Step("pu_against_baseline", "pu_against_baseline"),
    Step("complexity", "complexity"),
    Step("runtimes", "runtimes"),
    Step("runtimes_avx2", "runtimes", ["--rounds", "5"], WITHOUT_AVX512),
    Step("loading", "loading", heads=1, labels=False),
    Step("volume_pipeline", "volume_pipeline", heads=2),
    Step("volume_pipeline_avx2", "volume_pipeline", ["--rounds", "1"], WITHOUT_AVX512, heads=1),
    Step("group_norm", "group_norm"),
    Step("networks", "networks"),
    Step("scaling", "scaling"),
    *[Step("nnunet", "nnunet", heads=1)] * bool(importlib.util.find_spec("nnunetv2")),
]


def main(argv: list[str] | None = None) -> int:
    """Run the benchmarks and write ``goals.json`` and ``goals.md``; exit code 1 if one failed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", help="names of benchmarks, such as runtimes_avx2")
    parser.add_argument("--output", type=Path, default=Path("output/bench"), help="folder")
    args = parser.parse_args(argv)

    names = [step.name for step in STEPS]
    if "nnunet" in (args.only or ()) and "nnunet" not in names:
        parser.error("--only nnunet: nnunetv2 is not installed; pip install -c constraints.txt -e '.[nnunet]'.")
    unknown = [name for name in args.only or () if name not in names]
    if unknown:
        parser.error(f"--only: there is no {', '.join(unknown)}; there are {', '.join(names)}.")
    steps = [step for step in STEPS if step.name in (args.only or names)]
    args.output.mkdir(parents=True, exist_ok=True)
    heads = _heads(args.output) if any(step.heads for step in steps) else []
    failed = []
    for step in tqdm(steps, desc="benchmarks", disable=None):
        command = [sys.executable, "-m", f"benchmarks.{step.module}", "--output", str(args.output), *step.options]
        command += _head_options(heads[: step.heads], step.labels)
        if step.module == "volume_pipeline" and not _real_heads():
            command.append("--synthetic")
        (args.output / f"{step.name}.json").unlink(missing_ok=True)  # of an earlier run
        print(f"\n{step.name}: {' '.join(command[1:])}", flush=True)
        environment = os.environ | {"OMP_NUM_THREADS": "1"} | step.environment
        with _one_core():
            if subprocess.run(command, env=environment, check=False).returncode:
                failed.append(step.name)
    goals = collect(args.output)
    text = f"{goals_text(goals)}\n\n{READING}"
    write_results({"machine": machine(), "goals": goals}, text, args.output / "goals")
    print(f"\n{text}\n\n{args.output}: JSON, Markdown and pictures")
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


@contextlib.contextmanager
def _one_core() -> Iterator[None]:
    """Hold this process, and those that it starts, to one core, where the system can."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def collect(folder: Path) -> list[Goal]:
    """Return the goals of all results in a folder; what was not measured says so."""
    goals: list[Goal] = []
    for name, about in SCORED.items():
        path = folder / f"{name}.json"
        if path.is_file():
            goals += read_json(path)["goals"]
        else:
            goals.append({"what": about, "goal": "", "measured": "not measured", "met": None, "note": ""})
    return goals


def _heads(output: Path) -> list[tuple[str, str]]:
    """Return image and label files of two heads."""
    folder = output / "heads"
    if not _real_heads() and not folder.is_dir():
        volume_phantom.make(folder, "decathlon", number=len(HEADS), shape=(240, 240, 155))
    synthetic = [(image, folder / "labelsTr" / image.name) for image in sorted(folder.glob("imagesTr/*.nii.gz"))]
    return [(str(image), str(label)) for image, label in _real_heads() or synthetic]


def _real_heads() -> list[tuple[Path, Path]]:
    folder = Path(os.environ.get("PU_UNET_DATA_DIR", "")) / "Task01_BrainTumour"
    heads = [(folder / "imagesTr" / name, folder / "labelsTr" / name) for name in HEADS]
    return heads if all(path.is_file() for pair in heads for path in pair) else []


def _head_options(heads: Sequence[tuple[str, str]], scored: bool) -> list[str]:
    if not heads:
        return []
    images, labels = zip(*heads, strict=True)
    return ["--image", *images, *(["--label", *labels] if scored else [])]


if __name__ == "__main__":
    sys.exit(main())
