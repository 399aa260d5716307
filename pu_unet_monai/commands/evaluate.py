"""Evaluate a trained bundle on a part of a datalist: scores with intervals, and a report to look at."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pu_unet_monai import __version__
from pu_unet_monai.commands.options import add_trust
from pu_unet_monai.comparison.protocol import Protocol
from pu_unet_monai.config_keys import parse_settings
from pu_unet_monai.errors import INTERRUPTED, UserError
from pu_unet_monai.evaluation.pictures import read_examples
from pu_unet_monai.evaluation.report import Evaluation, write_report
from pu_unet_monai.evaluation.scores import add_groups, read_rows
from pu_unet_monai.files import file_sha256, make_folder, read_csv, read_json, write_json
from pu_unet_monai.printable import say, say_lines
from pu_unet_monai.runtime.bundle_run import run_bundle
from pu_unet_monai.runtime.earlier_results import warn_of_other_weights
from pu_unet_monai.runtime.machine import machine
from pu_unet_monai.runtime.network_overrides import recorded_network
from pu_unet_monai.runtime.trained_with import read_facts

__all__ = ["add_arguments", "run"]

_OWN = ("bundle_root", "dataset_dir", "datalist_file", "output_dir", "resume", "pretrained", "split")
"""Keys that the command sets itself, or that have no meaning for an evaluation."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--bundle", type=Path, required=True, help="folder of a bundle with weights")
    add_trust(parser)
    parser.add_argument("--dataset-dir", type=Path, required=True, help="folder of the dataset")
    parser.add_argument("--datalist", type=Path, required=True, help="its datalist, as data_prep writes it")
    parser.add_argument("--split", default="test", help="the part to evaluate (default test)")
    parser.add_argument("--output", type=Path, required=True, help="folder for scores and report")
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="a key of train.json: ckpt_dir=output/run/models; what the weights say of themselves (image_size, "
        "channels) need not be given; may be repeated",
    )


def run(args: argparse.Namespace) -> int:
    """Run the bundle's own evaluation, and write ``report.html``, ``report.json`` and ``report.md`` from its scores.

    Args:
        args: the parsed options.

    Returns:
        The exit code: 0, or 130 if it was interrupted.

    Raises:
        UserError: if an option is wrong, or the evaluation fails.
    """
    protocol = Protocol(args.bundle, args.dataset_dir, args.datalist, args.split, parse_settings(args.set), args.output)
    weights = _check(protocol, args.trust)
    protocol = replace(protocol, settings={**_facts(weights, protocol.training_config), **protocol.settings})
    make_folder(args.output)
    warn_of_other_weights(args.output, file_sha256(weights))
    examples = args.output / "examples.npz"
    try:
        _evaluate(protocol, weights, examples)
    except KeyboardInterrupt:
        print("interrupted; nothing was reported", file=sys.stderr)
        return INTERRUPTED
    add_groups(args.output / "scores.csv", protocol.groups)
    rows = read_rows(args.output / "scores.csv")
    evaluation = Evaluation(
        title=f"{args.bundle.resolve().name}, {args.split} split of {args.datalist.name}",
        rows=rows,
        examples=read_examples(examples),
        epochs=_epochs(weights, args.bundle),
        made_with=_made_with(protocol, weights),
    )
    write_report(evaluation, args.output)
    say_lines((args.output / "report.md").read_text(encoding="utf-8"))
    say(f"{args.output}: report.html, report.json, report.md, scores.csv")
    return 0


def _check(protocol: Protocol, trusted: bool) -> Path:
    """Refuse what can be seen to be wrong before anything is run, and return the file of weights."""
    if own := [key for key in protocol.settings if key.lstrip("+~").split("#")[0] in _OWN]:
        raise UserError(
            f"--set {', '.join(own)}: evaluate sets these itself; see --dataset-dir, --datalist, --split, --output."
        )
    protocol.check(trusted)
    weights = Path(str(protocol.settings.get("ckpt_dir", protocol.bundle / "models"))) / "model.pt"
    if not weights.is_file():
        raise UserError(f"{weights}: no such weights; train first, or point --set ckpt_dir=... at them.")
    return weights


def _facts(weights: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of ``train.json`` that are facts about weights, as far as these weights say them.

    No others: a file beside weights is not to choose the images or where results are written.
    """
    facts = read_facts(weights)
    known = {*config.get("trained_with", {}), "network_def"}
    if "network" in facts:
        facts["network_def"] = recorded_network(facts.pop("network"), weights, config)["network_def"]
    return {key: value for key, value in facts.items() if key in known}


def _evaluate(protocol: Protocol, weights: Path, examples: Path) -> None:
    """Run the bundle's ``evaluating`` with small copies of all cases kept."""
    overlay = protocol.output / "config.json"  # on the command line a folder 2018 would be taken for a number
    handler = {"_target_": "pu_unet_monai.handlers.ExamplesWriter", "path": str(examples)}
    places = {
        "dataset_dir": protocol.dataset_dir,
        "datalist_file": protocol.datalist_file,
        "output_dir": protocol.output,
        "ckpt_dir": weights.parent,
    }
    settings = {key: value for key, value in protocol.settings.items() if key not in places}
    texts = {key: str(path.resolve()) for key, path in places.items()}
    write_json(overlay, {"+validate#handlers": [handler], **texts, "split": protocol.split, **settings})
    files = [protocol.config("train.json"), protocol.config("evaluate.json"), overlay]
    log = protocol.output / "evaluating.log"
    print(f"evaluating the {protocol.split} split, see {log}", flush=True)
    run_bundle("evaluating", protocol.bundle, files, {}, log, "evaluating", progress=True)


def _epochs(weights: Path, bundle: Path) -> list[dict[str, str]]:
    """Return the epochs of the training: from beside its folder of weights, or, of published weights, their record."""
    record = bundle / "docs" / "weights.json"
    published = record.is_file() and read_json(record).get("weights_sha256") == file_sha256(weights)
    above = weights.resolve().parents[1]
    folders = [bundle / "docs"] if published else [above, above / "output"]
    path = next((folder / "epochs.csv" for folder in folders if (folder / "epochs.csv").is_file()), None)
    return read_csv(path) if path else []


def _made_with(protocol: Protocol, weights: Path) -> Mapping[str, Any]:
    where = machine()
    return {
        "package": __version__,
        "bundle": protocol.bundle.resolve().name,
        "weights (SHA-256)": file_sha256(weights),
        "datalist (SHA-256)": file_sha256(protocol.datalist_file),
        "split": protocol.split,
        "settings": json.dumps(dict(protocol.settings)),
        "machine": f"{where['gpu'] or where['processor']}, {where['threads']} thread(s)",
        "versions": f"torch {where['torch']}, MONAI {where['monai']}",
    }
