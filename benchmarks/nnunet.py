"""From the file of a brain MRI to its label map: nnU-Net's own predictor against ``predict``, same network and weights.

    pip install -c constraints.txt -e '.[nnunet]'
    OMP_NUM_THREADS=1 python -m benchmarks.nnunet --image CASE.nii.gz --label LABEL.nii.gz

Four sides, alternately, each in a process of its own: nnU-Net as it comes (tiles that overlap by half, weighted by a
Gaussian, each predicted in all eight mirrored positions), nnU-Net without the mirroring, which ``predict`` has not
either, and ``predict`` in float32 and in bfloat16. nnU-Net runs the bundle's network with the bundle's weights, laid
out as nnU-Net lays out its own: then the pipelines differ in nothing but themselves, and their Dice compares. Its
plans are the bundle's: 1 mm, regions, z-scores within the brain. On a CPU it computes in float32. Loading and writing
back to the file's grid count, writing the file does not. nnU-Net takes the axes as they lie in the file, so for scores
that compare the file's have to be left, posterior, superior, as in BraTS. Each time is measured after an unmeasured
one without mirroring. Mirroring takes some seven minutes on one core.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import functools
import importlib.metadata
import importlib.util
import os
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.measure import alternate
from benchmarks.reporting import ratio_of_cpu, raw_times, setting_text
from benchmarks.run_as import run_as_pytorch
from benchmarks.volume_pipeline import dice, predict, trained
from pu_unet_monai.data.label_numbering import REGIONS
from pu_unet_monai.errors import UserError, print_error
from pu_unet_monai.evaluation.complexity import count_parameters
from pu_unet_monai.evaluation.tables import markdown_table, write_results
from pu_unet_monai.runtime.machine import machine
from pu_unet_monai.transforms import LabelToRegions, RegionsToLabeld
from pu_unet_monai.volumes import read_volume

SIDES = ("nnU-Net, mirroring (its default)", "nnU-Net, no mirroring", "predict, float32", "predict, bfloat16")
_LABELS = {"background": 0, "WT": [1, 2, 3], "TC": [1, 3], "ET": [3]}
"""Regions in the order in which nnU-Net paints them, and the label (numbering brats) that each is painted with."""
_PAINTED = [2, 1, 3]
_CONFIGURATION = "3d_fullres"


def nnunet(bundle: Path, image: Path, patch_size: Sequence[int], mirroring: bool) -> np.ndarray:
    """Segment a case with nnU-Net's predictor and the bundle's network; returns a label map (1, x, y, z)."""
    run_as_pytorch()
    with contextlib.redirect_stdout(None):
        (label,) = _predictor(bundle, tuple(patch_size), mirroring).predict_from_files_sequential([[str(image)]], None)
    return np.asarray(label).transpose(2, 1, 0)[None]


def predict_one(bundle: Path, image: Path, precision: str) -> np.ndarray:
    """Segment a case as ``predict`` does, in PyTorch; returns a label map (1, x, y, z)."""
    (label_map,) = predict(bundle, [image], "eager", precision)
    return label_map


@functools.cache
def _predictor(bundle: Path, patch_size: tuple[int, ...], mirroring: bool) -> Any:
    os.environ.setdefault("nnUNet_def_n_proc", str(torch.get_num_threads()))  # or it takes eight threads
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    network = region_ordered(copy.deepcopy(trained(bundle).network))
    network.to(memory_format=torch.contiguous_format)
    plans = PlansManager(make_plans(patch_size))
    predictor = nnUNetPredictor(use_mirroring=mirroring, device=torch.device("cpu"), allow_tqdm=False)
    predictor.manual_initialization(
        network,
        plans,
        plans.get_configuration(_CONFIGURATION),
        [network.state_dict()],
        {"labels": _LABELS, "regions_class_order": _PAINTED, "file_ending": ".nii.gz"},
        "nnUNetTrainer",
        (0, 1, 2),
    )
    return predictor


def region_ordered(network: Any) -> Any:
    """Bring the network's outputs, the regions TC, WT, ET, into the order of the labels above, in its last layer."""
    order = [REGIONS.index(region) for region in ("WT", "TC", "ET")]
    with torch.no_grad():
        network.head.weight.copy_(network.head.weight[order])
        network.head.bias.copy_(network.head.bias[order])
    return network


def make_plans(patch_size: Sequence[int]) -> dict[str, Any]:
    """Return plans as nnU-Net keeps them in a file, with its default resampling and the bundle's spacing and norms."""
    resampling: dict[str, Any] = {}
    for what, is_seg, order in (("data", False, 3), ("seg", True, 1), ("probabilities", False, 1)):
        resampling[f"resampling_fn_{what}"] = "resample_data_or_seg_to_shape"
        resampling[f"resampling_fn_{what}_kwargs"] = {
            "is_seg": is_seg, "order": order, "order_z": 0, "force_separate_z": None,
        }  # fmt: skip
    return {
        "dataset_name": "Dataset001_Brain",
        "plans_name": "nnUNetPlans",
        "image_reader_writer": "SimpleITKIO",
        "label_manager": "LabelManager",
        "transpose_forward": [2, 1, 0],  # SimpleITK reads (z, y, x)
        "transpose_backward": [2, 1, 0],
        "foreground_intensity_properties_per_channel": {str(channel): {} for channel in range(4)},
        "configurations": {
            _CONFIGURATION: {
                "preprocessor_name": "DefaultPreprocessor",
                "patch_size": list(patch_size),
                "spacing": [1.0, 1.0, 1.0],
                "normalization_schemes": ["ZScoreNormalization"] * 4,
                "use_mask_for_norm": [True] * 4,
                "architecture": {},
                **resampling,
            }
        },
    }


def main(argv: list[str] | None = None) -> int:
    """Measure, and write the results; exit code 2 if nnU-Net is not installed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--bundle", type=Path, default=Path("bundles/pu_unet_brats"))
    parser.add_argument("--image", type=Path, required=True, help="a 4D NIfTI file")
    parser.add_argument("--label", type=Path, required=True, help="its label map")
    parser.add_argument("--numbering", default="decathlon", help="of the label map")
    parser.add_argument("--patch-size", type=int, nargs=3, default=[128, 128, 128], help="of nnU-Net's tiles")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("output/bench"), help="folder")
    args = parser.parse_args(argv)
    try:
        _check(args.image, args.label)
        results = _measure(args)
    except UserError as error:
        print_error(error)
        return 2
    write_results(results, _text(results), args.output / "nnunet")
    print(_text(results))
    return 0


def _check(*files: Path) -> None:
    if importlib.util.find_spec("nnunetv2") is None:
        raise UserError("nnunetv2 is not installed: pip install -c constraints.txt -e '.[nnunet]'.")
    missing = [str(path) for path in files if not path.is_file()]
    if missing:
        raise UserError(f"there is no file {' and no '.join(missing)}: give --image and --label.")


def _measure(args: argparse.Namespace) -> dict[str, Any]:
    sides = (
        functools.partial(nnunet, args.bundle, args.image, args.patch_size, mirroring=True),
        functools.partial(nnunet, args.bundle, args.image, args.patch_size, mirroring=False),
        functools.partial(predict_one, args.bundle, args.image, "float32"),
        functools.partial(predict_one, args.bundle, args.image, "bfloat16"),
    )
    named = dict(zip(SIDES, sides, strict=True))
    warm_ups = named | {SIDES[0]: sides[1]}  # which takes an eighth of the time
    times, found = alternate(named, args.rounds, warm_ups)
    label = read_volume(args.label)
    truth = RegionsToLabeld("label")({"label": LabelToRegions(args.numbering)(label)})["label"].numpy()
    bundle = trained(args.bundle)
    return {
        "case": args.image.name,
        "bundle": bundle.name,
        "parameters": count_parameters(bundle.network),
        "window_of_the_weights": bundle.metadata.get("window"),
        "patch_size": args.patch_size,
        "nnunetv2": importlib.metadata.version("nnunetv2"),
        "machine": machine(),
        "rounds": args.rounds,
        "sides": {
            name: raw_times(times[name])
            | {
                "times_less_cpu_than_default": ratio_of_cpu(times[SIDES[0]], times[name]),
                "times_less_cpu_than_unmirrored": ratio_of_cpu(times[SIDES[1]], times[name]),
                "dice_with_truth": dice(found[name], truth),
                "dice_with_predict": dice(found[name], found["predict, float32"]),
            }
            for name in SIDES
        },
        "goals": [],
    }


def _text(results: Mapping[str, Any]) -> str:
    rows = [
        [
            name,
            *(f"{statistics.median(side[f'{clock}_seconds']):.2f}" for clock in ("wall", "cpu")),
            *(f"{side[f'times_less_cpu_than_{other}']['median']:.1f}" for other in ("default", "unmirrored")),
            *(_dice_text(side[f"dice_with_{other}"]) for other in ("truth", "predict")),
        ]
        for name, side in results["sides"].items()
    ]
    columns = ["side", "wall s", "CPU s", "times less CPU than nnU-Net", "than without mirroring"]
    columns += ["Dice with truth", "Dice with predict in float32"]
    return (
        f"{results['case']}, {setting_text(results['machine'], results['rounds'])}, nnU-Net {results['nnunetv2']}; "
        f"the network of {results['bundle']} ({results['parameters']:,} parameters) on all sides, weights trained for "
        f"the window: {results['window_of_the_weights']}; nnU-Net's tiles of "
        f"{'x'.join(map(str, results['patch_size']))}, step 0.5.\n\n{markdown_table(columns, rows)}"
    )


def _dice_text(scores: Mapping[str, float | None]) -> str:
    return ", ".join(
        f"{region} {'none' if scores[region] is None else f'{scores[region]:.4f}'}" for region in ("WT", "TC", "ET")
    )


if __name__ == "__main__":
    sys.exit(main())
