r"""Train one or several cells of a comparison on a GPU that is at hand for minutes, from one packed dataset.

    python -m data_prep.pack --dataset-dir Kvasir-SEG --datalist kvasir.json --size 352 --output kvasir.zip
    python -m experiments.train_gpu --packed kvasir.zip --bundle bundles/pu_unet_kvasir --output output/gpu \
        --minutes 9 --vary placement=none,low_resolution --seeds 0 --set image_size=352
    python -m experiments.train_gpu --join output/gpu/placement_none_seed_0        # gives cell/, with models/model.pt

It runs ``compare``, and stops it when the time is over; the same command goes on from the last whole epoch, as long as
``output`` is there. Of each finished training it leaves the weights in half precision, in pieces of under 15 MB that
any channel carries, with the score of every image and all that ``experiments.publish_weights`` wants; and
``train_gpu.json``: what was trained, how far, how long, on what, and the scores.
"""

from __future__ import annotations

import argparse
import math
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.cell_pieces import join_pieces, write_pieces
from pu_unet_monai.errors import INTERRUPTED, UserError, join_some, print_error
from pu_unet_monai.evaluation.scores import read_rows, summarise
from pu_unet_monai.files import file_sha256, make_folder, read_csv, read_json, write_json
from pu_unet_monai.runtime.machine import machine

__all__ = ["main"]

_SECONDS_TO_END = 10.0
"""How long compare has to end after an interrupt."""
_SECONDS_TO_STOP = 20.0
"""What is left of the time for the end: interrupting, half precision, the report."""


def main(argv: Sequence[str] | None = None) -> int:
    """Train, or join pieces; returns 0 if all is done, 130 if the time was over before, else what compare returned."""
    started = time.monotonic()
    parser = argparse.ArgumentParser(
        prog="python -m experiments.train_gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--packed", type=Path, help="dataset, as data_prep.pack writes it")
    parser.add_argument("--bundle", type=Path, help="folder of the bundle that trains")
    parser.add_argument("--output", type=Path, default=Path("output/gpu"), help="folder (default output/gpu)")
    parser.add_argument("--minutes", type=float, default=9.0, help="after which it has ended (default 9)")
    parser.add_argument("--vary", metavar="KEY=a,b", action="append", default=[], help="as compare's")
    parser.add_argument("--seeds", default="0", help="as compare's (default 0)")
    parser.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help="as compare's")
    parser.add_argument("--join", type=Path, metavar="FOLDER", help="make a training again from its pieces, no more")
    args = parser.parse_args(argv)
    try:
        if args.join:
            print(join_pieces(args.join))
            return 0
        if missing := [f"--{name}" for name in ("packed", "bundle", "vary") if not getattr(args, name)]:
            parser.error(f"{', '.join(missing)}: needed to train")
        if not (math.isfinite(args.minutes) and args.minutes > 0):
            parser.error(f"--minutes {args.minutes}: expected a number above 0")
        return _train(args, started)
    except UserError as error:
        print_error(error)
        return 2


def _train(args: argparse.Namespace, started: float) -> int:
    data = _unpack(args.packed, args.output / "data")
    comparison = args.output / "compare"
    command = [
        sys.executable,
        "-m",
        "pu_unet_monai",
        "compare",
        "--bundle",
        str(args.bundle),
        "--dataset-dir",
        str(data),
    ]
    command += ["--datalist", str(data / "datalist.json"), "--output", str(comparison), "--seeds", args.seeds]
    command += [part for text in args.vary for part in ("--vary", text)]
    command += [part for text in args.set for part in ("--set", text)]
    code = _run_until(command, started + 60 * args.minutes - _SECONDS_TO_STOP)
    cells = [_describe(folder, args.output) for folder in sorted(comparison.glob("*/seed_*"))]
    results = {
        "machine": machine(),
        "packed (SHA-256)": file_sha256(args.packed),
        "command": command[3:],
        "seconds": round(time.monotonic() - started, 1),
        "cells": cells,
    }
    write_json(args.output / "train_gpu.json", results)
    done = sum(cell["done"] for cell in cells)
    print(f"{done} of {len(cells)} trainings that were begun are done: {args.output / 'train_gpu.json'}")
    return code


def _unpack(packed: Path, folder: Path) -> Path:
    """Unpack a dataset, once."""
    if not packed.is_file():
        raise UserError(f"--packed {packed}: no such file; write it with python -m data_prep.pack.")
    marker = folder / "packed.json"
    packed_as = {"sha256": file_sha256(packed)}
    if marker.is_file() and read_json(marker) == packed_as:
        return folder
    if folder.exists():
        raise UserError(f"{folder}: holds something else than {packed.name}; choose another --output, or remove it.")
    make_folder(folder.parent)
    temporary = folder.with_name(f".{folder.name}-unpacking")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        with zipfile.ZipFile(packed) as archive:
            _check_archive(archive, packed)
            archive.extractall(temporary)
    except zipfile.BadZipFile as error:
        raise UserError(f"--packed {packed}: no zip ({error}); write it with python -m data_prep.pack.") from error
    write_json(temporary / marker.name, packed_as)
    temporary.rename(folder)
    return folder


def _check_archive(archive: zipfile.ZipFile, packed: Path) -> None:
    """Refuse a zip that would write elsewhere, or that is larger than what ``data_prep.pack`` stores uncompressed."""
    names = [Path(name) for name in archive.namelist()]
    if outside := [str(name) for name in names if name.is_absolute() or ".." in name.parts]:
        raise UserError(f"--packed {packed}: would write outside of its folder: {join_some(outside)}; do not use it.")
    size = sum(entry.file_size for entry in archive.infolist())
    if size > packed.stat().st_size:
        raise UserError(
            f"--packed {packed}: holds {size} bytes in a file of {packed.stat().st_size}, which data_prep.pack does "
            "not do; do not use it."
        )


def _run_until(command: Sequence[str], deadline: float) -> int:
    """Run a command, interrupt it at the deadline, and return its exit code."""
    with subprocess.Popen(command) as process:
        while process.poll() is None:
            if time.monotonic() > deadline:
                print("the time is over", flush=True)
                process.send_signal(signal.SIGINT)
                try:
                    process.wait(_SECONDS_TO_END)
                except subprocess.TimeoutExpired:  # the last whole epoch is on disk
                    process.kill()
                return INTERRUPTED
            time.sleep(0.2)
        return process.returncode


def _describe(folder: Path, output: Path) -> dict[str, Any]:
    """Say how far a training is; of one that is done also the scores, with its weights in pieces."""
    epochs = folder / "epochs.csv"
    rows = read_csv(epochs) if epochs.is_file() else []
    cell: dict[str, Any] = {
        "variant": folder.parent.name,
        "seed": int(folder.name.removeprefix("seed_")),
        "epochs": len(rows),
        "seconds": round(sum(float(row["seconds"]) for row in rows), 1),
        "done": (folder / "done.json").is_file(),
    }
    if cell["done"]:
        pieces = output / re.sub(r"[^\w.-]+", "_", f"{cell['variant']}_{folder.name}")
        cell |= {"weights": write_pieces(folder, pieces), "pieces": pieces.name}
        cell["scores"] = summarise(read_rows(folder / "scores.csv"))
    return cell


if __name__ == "__main__":
    sys.exit(main())
