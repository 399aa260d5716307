r"""Put the weights of a training that ``compare`` ran into its bundle, in half precision, with the record of it.

    python -m pu_unet_monai compare --bundle bundles/pu_unet_kvasir --dataset-dir Kvasir-SEG --datalist kvasir.json \
        --vary placement=low_resolution --seeds 42 --set image_size=128 --set max_epochs=100 \
        --output output/weights/kvasir
    python -m experiments.publish_weights --bundle bundles/pu_unet_kvasir \
        --cell output/weights/kvasir/placement=low_resolution/seed_42

Written are ``models/model.pt`` and ``models/model.json`` of the bundle, ``docs/weights.json`` and ``.md`` (data, split,
settings, epochs, hardware, scores with intervals, licence), ``docs/scores.csv`` (the score of every image),
``docs/epochs.csv`` and, in the metadata, the mean scores. The scores are those of the published weights, by
``evaluate``, not of the ones they were rounded from.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.cell_pieces import half_precision
from experiments.weights_record import markdown, metadata_with, weights_record
from pu_unet_monai.__main__ import main as run_command
from pu_unet_monai.errors import UserError, print_error
from pu_unet_monai.evaluation.tables import write_results
from pu_unet_monai.files import atomic_path, read_json
from pu_unet_monai.runtime.trained_with import read_facts, write_facts

__all__ = ["main", "publish"]

_LARGEST = 30_000_000


def main(argv: Sequence[str] | None = None) -> int:
    """Publish, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.publish_weights",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--cell", type=Path, required=True, help="folder of a finished training of compare")
    parser.add_argument("--bundle", type=Path, required=True, help="folder of the bundle that gets the weights")
    parser.add_argument("--dataset-dir", type=Path, help="folder of the dataset (default: where the training had it)")
    parser.add_argument("--datalist", type=Path, help="its datalist (default: the training's)")
    parser.add_argument(
        "--note", default="", help="a sentence for the metadata, such as what is smaller than the paper's"
    )
    args = parser.parse_args(argv)
    try:
        publish(args)
    except UserError as error:
        print_error(error)
        return 2
    return 0


def publish(args: argparse.Namespace) -> None:
    """Publish the weights of a finished training, see above; the bundle changes when all else is done.

    Raises:
        UserError: if the training is not finished, its weights are too large or of another network than the bundle's,
            or their evaluation fails.
    """
    config, facts = _check(args.cell, args.bundle)
    dataset_dir = args.dataset_dir or Path(config["dataset_dir"])
    datalist = args.datalist or Path(config["datalist_file"])
    staging = args.cell / "published"
    weights = staging / "models" / "model.pt"
    _write_half(args.cell / "models" / "model.pt", weights, facts)
    command = ["evaluate", "--bundle", args.bundle, "--dataset-dir", dataset_dir, "--datalist", datalist]
    command += ["--output", staging, "--set", f"ckpt_dir={weights.parent}", "--set", "num_workers=0"]
    command += ["--set", f"seed={config['seed']}"]  # which scores.csv names
    if run_command([*map(str, command)]):
        raise UserError(f"{staging}: the evaluation of the published weights failed.")
    record = weights_record(args.bundle.resolve().name, args.cell, weights, facts, read_json(datalist), args.note)
    metadata = metadata_with(record, read_json(args.bundle / "configs" / "metadata.json"))
    for name, folder in (("model.pt", "models"), ("model.json", "models"), ("scores.csv", "docs")):
        source = weights.with_name(name) if folder == "models" else staging / name
        with atomic_path(args.bundle / folder / name) as path:
            shutil.copyfile(source, path)
    with atomic_path(args.bundle / "docs" / "epochs.csv") as path:
        shutil.copyfile(args.cell / "epochs.csv", path)
    write_results(record, markdown(record), args.bundle / "docs" / "weights")
    with atomic_path(args.bundle / "configs" / "metadata.json") as path:
        path.write_text(json.dumps(metadata, indent=4) + "\n", encoding="utf-8")


def _check(cell: Path, bundle: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the settings of a training and the facts about its weights, if the bundle can have them."""
    files = ("config.json", "epochs.csv", "scores.csv", "models/model.pt", "models/model.json")
    if missing := [name for name in ("done.json", *files) if not (cell / name).is_file()]:
        raise UserError(f"--cell {cell}: no finished training of compare, {', '.join(missing)} missing.")
    if not (bundle / "configs" / "metadata.json").is_file():
        raise UserError(f"--bundle {bundle}: not a bundle, there is no configs/metadata.json.")
    facts = read_facts(cell / "models" / "model.pt")
    if "network" in facts or "channels" not in facts:
        raise UserError(
            f"{cell / 'models' / 'model.json'}: not of the bundle's own network, but "
            f"{facts.get('network', 'unknown')}; vary keys of the bundle, such as placement, instead of network."
        )
    return read_json(cell / "config.json", "train again"), facts


def _write_half(source: Path, target: Path, facts: Mapping[str, Any]) -> None:
    content = half_precision(source)
    if len(content) > _LARGEST:
        raise UserError(f"{source}: {len(content) / 1e6:.1f} MB in half precision, at most 30 MB are published.")
    with atomic_path(target) as path:
        path.write_bytes(content)
    write_facts(target, facts)


if __name__ == "__main__":
    sys.exit(main())
