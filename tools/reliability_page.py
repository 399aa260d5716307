"""The page on reliability, from the figures that the full tests left.

    make test-all
    python -m tools.reliability_page --figures output/reliability.json

It writes ``docs/reliability.md``, and the figures beside it as ``docs/reliability.json``. A figure is there only if its
test passed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pu_unet_monai.errors import UserError, join_some, print_error
from pu_unet_monai.evaluation.tables import markdown_table, write_results
from pu_unet_monai.files import read_json

DOCS = Path(__file__).resolve().parents[1] / "docs"
_BUNDLES = ("pu_unet_brats", "pu_unet_busi", "pu_unet_isic2018", "pu_unet_kvasir", "r2_unet_isic2017")
_FORMATS = (".bmp", ".jpg", ".nii", ".nii.gz", ".nrrd", ".png", ".tif")
_ROWS = {
    "kills": (*_BUNDLES, "while a file is written"),
    "faults": (
        *("disk full while predicting", "disk full while training", "a quota of bytes for a file"),
        *("read-only output while predicting", "read-only output while training"),
        *("an image without permission to read", "an output without permission to write"),
        *("too little memory for a training", "too little memory for one image of several"),
        *("a data worker killed", "SIGINT while predicting", "SIGTERM while predicting"),
    ),
    "bad inputs": (
        *("images", "volumes", "DICOM series", "files of weights"),
        *("datalists", "inference.json", "metadata.json", "model.json"),
        *(f"random edits of {suffix}" for suffix in _FORMATS),
    ),
    "load": ("images", "volumes", "epochs"),
}
"""What the page promises; a test that was skipped leaves no figure."""
_HEAD = """# Reliability

What was tried, and what came of it. Every figure is of a test that passed in the full form (`make test-all`), on
{machine}; the page is made by `python -m tools.reliability_page`. `make test` tries the same in a short form at each
change."""

_KILLS = """## Trainings that are killed

Killed with SIGKILL at random moments, data workers on, and resumed each time until done. Each training ended with the
same bytes in every file as one that nobody touched: weights, facts about them, checkpoints, and the log of the epochs
but for its seconds. That is on a CPU; see [what is not deterministic](#what-is-not-deterministic-on-a-gpu).

One training of some hundred was another, though nobody had killed it: where two threads call a vector function of MKL
for the first time at once, one may get a less accurate result
([PyTorch #188792](https://github.com/pytorch/pytorch/issues/188792)), and one cached image was smoothed a little
otherwise. Datasets and networks call them all once now, before there are threads. Of 3,000 programs whose two threads
begin so, 8 had another result without these calls, and none with them (`python -m tests.reliability.first_calls 3000`,
and the same with `--settled`)."""

_FAULTS = """## What a machine does to a program

Exit codes are never 0, the last line says why, and every file under a final name is whole. A training that ran out of
room goes on when there is some. A prediction starts over; the report of a killed one says `"finished": false`."""

_INPUTS = """## Bad inputs

Each is an error in one line that names it, or right. None crashes, hangs, or runs code. What "right" means: of images,
volumes, DICOM series and weights, the result that an independent reading of the file gives (Pillow's, nibabel's,
pydicom's, PyTorch's; of MHA, NRRD and the orientation of images one by NumPy alone), in its shape, place and values; of
datalists, that every file lies in the dataset's folder, and the transforms read it; of configurations, metadata,
`model.json` and expressions, that they are taken for known, and Python's audit events show nothing written, started or
sent while the bundle is built and they run."""

_LOAD = """## Many cases, many epochs

One program over all of them. Memory: of the last tenth of the work against the second tenth, at most 5 % more. No open
file, process or temporary file is left; masks of cases that were segmented again one by one are the same bytes."""

_GPU = """## What is not deterministic on a GPU

- Some of cuDNN's algorithms, and the backward passes of interpolation and of indexing, add up in an order that changes
  from run to run: two trainings with one seed differ by rounding from the first steps on, and by more later.
- What stays the same: the order of cases, crops, augmentations and the first weights, which come from seeded generators
  on the CPU. A resumed training has their state, that of the optimiser and that of the gradient scaler.
- Bit-identical trainings on a GPU need `torch.use_deterministic_algorithms(True)`, for which PyTorch lacks a version of
  some operations (the backward pass of trilinear interpolation, for one). Not tried here: no GPU was at hand."""


def page(figures: Mapping[str, Any]) -> str:
    """Return the page.

    Args:
        figures: by part, as the tests record them, and the machine.

    Raises:
        UserError: if a part, or a row of one, was not tried.
    """
    missing = [part for part in _ROWS if not figures.get(part)]
    missing += [
        f"{part}: {row}"
        for part, rows in _ROWS.items()
        for row in rows
        if part not in missing and row not in figures[part]
    ]
    if missing:
        raise UserError(
            f"no figures of {join_some(missing)}: run make test-all to its end, and see that none of its tests was "
            "skipped."
        )
    about = figures["machine"]
    machine = f"{about['cores']} cores of {about['processor']}, torch {about['torch']}, MONAI {about['monai']}"
    kills = [[name, str(row["kills"]), str(row["trainings"])] for name, row in figures["kills"].items()]
    faults = [[name, str(row["tried"]), f"`{row['said']}`"] for name, row in figures["faults"].items()]
    inputs = [[name, *(str(row[key]) for key in ("tried", "errors", "right"))] for name, row in _with_sum(figures)]
    load = [_load_row(name, row) for name, row in figures["load"].items()]
    parts = [
        _HEAD.format(machine=machine),
        *(_KILLS, markdown_table(["bundle", "kills", "trainings"], kills)),
        *(_FAULTS, markdown_table(["what", "times", "what is said"], faults)),
        *(_INPUTS, markdown_table(["what", "tried", "errors", "right"], inputs)),
        *(_LOAD, markdown_table(["what", "in one go", "growth of memory", "again one by one"], load)),
        _GPU,
    ]
    return "\n\n".join(parts)


def _with_sum(figures: Mapping[str, Any]) -> list[tuple[str, Mapping[str, int]]]:
    rows = list(figures["bad inputs"].items())
    total = {key: sum(row[key] for _, row in rows) for key in ("tried", "errors", "right")}
    return [*rows, ("all", total)]


def _load_row(name: str, row: Mapping[str, Any]) -> list[str]:
    number = row.get("cases", row.get("epochs"))
    return [name, str(number), f"{row['growth']:+.1%}", str(row.get("compared", "-"))]


def main(argv: Sequence[str] | None = None) -> int:
    """Write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--figures", type=Path, required=True, help="the file that make test-all wrote")
    parser.add_argument("--output", type=Path, default=DOCS / "reliability", help="without its ending")
    args = parser.parse_args(argv)
    try:
        figures = read_json(args.figures, mend="run make test-all to its end")
        write_results(figures, page(figures), args.output)
    except UserError as error:
        print_error(error)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
