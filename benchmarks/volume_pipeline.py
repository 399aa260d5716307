"""From the files of brain MRIs to their label maps: MONAI's usual pipeline against ours, same weights.

    python -m benchmarks.volume_pipeline --image A.nii.gz B.nii.gz --label A_label.nii.gz B_label.nii.gz
    ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 python -m benchmarks.volume_pipeline ...  # see benchmarks.runtimes

Alternately, each side in a process of its own, on one thread: MONAI's sliding windows over the whole volume in float32;
the same windows as ``predict`` runs tiles, in bfloat16 where the CPU is fast in it, channels last, and with freed
memory kept for the next window; and the bundle's own inference, the one that ``predict`` runs for a folder of cases, in
each runtime and precision. Loading and writing back to the file's grid count, and so does what a runtime does for each
new size. Each time, each side segments the first case unmeasured, then all one after another; the times are those of
one. The first case of a program takes longer, as memory has to be taken from the system.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import itertools
import math
import os
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import decollate_batch, list_data_collate
from monai.inferers import Inferer, SlidingWindowInferer
from monai.metrics import compute_dice
from monai.transforms import (
    Activationsd,
    AsDiscreted,
    Compose,
    EnsureChannelFirstd,
    Invertd,
    LoadImaged,
    NormalizeIntensityd,
    Orientationd,
    Spacingd,
)

from benchmarks.measure import alternate
from benchmarks.reporting import Goal, goals_text, ratio_of_cpu, ratio_text, raw_times, setting_text
from benchmarks.run_as import run_as_predict, run_as_pytorch
from pu_unet_monai.data.label_numbering import REGIONS
from pu_unet_monai.evaluation.tables import markdown_table, write_results
from pu_unet_monai.inferers import CPUBFloat16Inferer
from pu_unet_monai.runtime.bundle import TrainedBundle
from pu_unet_monai.runtime.machine import machine
from pu_unet_monai.runtime.malloc import generous_malloc
from pu_unet_monai.runtime.precision import cpu_is_fast_in_bfloat16
from pu_unet_monai.transforms import LabelToRegions, RegionsToLabeld
from pu_unet_monai.volumes import read_volume

MONAI = "MONAI's windows, float32"
_LARGEST_LOSS = 0.005
_LABELS = (("L", "R"), ("P", "A"), ("I", "S"))


def monai_windows(bundle: Path, images: Sequence[Path], roi_size: Sequence[int]) -> list[np.ndarray]:
    """Segment cases with MONAI alone, as model-zoo bundles do, and the bundle's weights."""
    run_as_pytorch()
    torch.set_num_threads(1)
    network: Any = trained(bundle).network
    network.to(memory_format=torch.contiguous_format)
    return [monai_pipeline(network, image, windows(roi_size)) for image in images]


def same_windows(bundle: Path, images: Sequence[Path], roi_size: Sequence[int]) -> list[np.ndarray]:
    """Segment cases with the same windows, run as ``predict`` runs its tiles."""
    run_as_predict()
    with generous_malloc():
        inferer = CPUBFloat16Inferer(windows(roi_size))
        return [monai_pipeline(trained(bundle).network, image, inferer) for image in images]


def predict(bundle: Path, images: Sequence[Path], runtime: str, precision: str) -> list[np.ndarray]:
    """Segment cases as ``predict`` does."""
    run_as_predict()
    return [trained(bundle, runtime, precision).predict(str(image))["pred"].numpy() for image in images]


@functools.cache
def trained(bundle: Path, runtime: str = "eager", precision: str = "float32") -> TrainedBundle:
    """Load a bundle once a process."""
    return TrainedBundle(bundle, {"runtime": runtime, "precision": precision, "device": torch.device("cpu")})


def windows(roi_size: Sequence[int]) -> Inferer:
    """Return MONAI's sliding windows."""
    return SlidingWindowInferer(roi_size, sw_batch_size=1, overlap=0.5)


def monai_pipeline(network: torch.nn.Module, image: Path, inferer: Inferer) -> np.ndarray:
    """Load a case with MONAI's transforms, segment it, and put the label map back on the file's grid."""
    before = Compose(
        [
            LoadImaged("image"),
            EnsureChannelFirstd("image"),
            Orientationd("image", axcodes="LPS", labels=_LABELS),
            Spacingd("image", pixdim=(1.0, 1.0, 1.0), mode="bilinear"),
            NormalizeIntensityd("image", nonzero=True, channel_wise=True),
        ]
    )
    after = Compose(
        [
            Activationsd("pred", sigmoid=True),
            AsDiscreted("pred", threshold=0.5),
            RegionsToLabeld("pred"),
            Invertd("pred", transform=before, orig_keys="image", nearest_interp=True, to_tensor=True),
        ]
    )
    batch = list_data_collate([before({"image": str(image)})])
    with torch.no_grad():
        batch["pred"] = inferer(batch["image"], network)
    return after(decollate_batch(batch)[0])["pred"].numpy()


def dice(first: np.ndarray, second: np.ndarray) -> dict[str, float | None]:
    """Return the Dice of two label maps (numbering brats), region by region; None where both are empty."""
    to_regions = LabelToRegions("brats")
    one, other = (torch.as_tensor(to_regions(torch.from_numpy(label)))[None] for label in (first, second))
    scores = compute_dice(one, other)[0].tolist()
    return {r: None if math.isnan(score) else round(score, 5) for r, score in zip(REGIONS, scores, strict=True)}


def mean_dice(scores: Sequence[Mapping[str, float | None]]) -> float:
    """Return the mean over cases and regions, without those that are empty in truth and prediction."""
    return statistics.mean(score for case in scores for score in case.values() if score is not None)


def main(argv: list[str] | None = None) -> int:
    """Measure, and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--bundle", type=Path, default=Path("bundles/pu_unet_brats"))
    parser.add_argument("--image", type=Path, nargs="+", required=True, help="4D NIfTI files")
    parser.add_argument("--label", type=Path, nargs="+", required=True, help="their label maps")
    parser.add_argument("--numbering", default="decathlon", help="of the label maps")
    parser.add_argument("--synthetic", action="store_true", help="the cases are: their Dice says nothing of a goal")
    parser.add_argument("--roi-size", type=int, nargs=3, default=[128, 128, 128], help="of MONAI's windows")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path("output/bench"), help="folder")
    args = parser.parse_args(argv)

    isa = os.environ.get("ONEDNN_MAX_CPU_ISA")
    low = cpu_is_fast_in_bfloat16() and not isa
    sides: dict[str, Callable[..., list[np.ndarray]]] = {
        MONAI: functools.partial(monai_windows, args.bundle, roi_size=args.roi_size)
    }
    if low:
        sides["the same windows, bfloat16"] = functools.partial(same_windows, args.bundle, roi_size=args.roi_size)
    runtimes = ["eager"] + ["openvino"] * bool(importlib.util.find_spec("openvino"))
    for precision, runtime in itertools.product(["float32"] + ["bfloat16"] * low, runtimes):
        sides[f"predict, {runtime}, {precision}"] = functools.partial(
            predict, args.bundle, runtime=runtime, precision=precision
        )
    on_all, on_first = (
        {name: functools.partial(side, images=images) for name, side in sides.items()}
        for images in (args.image, args.image[:1])
    )
    times, found = alternate(on_all, args.rounds, on_first)
    truths = [_truth(label, args.numbering) for label in args.label]
    per_case = {
        name: {clock: [t / len(args.image) for t in of] for clock, of in side.items()} for name, side in times.items()
    }
    windows_dice = [dice(label_map, truth) for label_map, truth in zip(found[MONAI], truths, strict=True)]
    results = {
        "cases": [image.name for image in args.image],
        "window_of_the_weights": trained(args.bundle).metadata.get("window"),
        "roi_size": args.roi_size,
        "machine": machine(),
        "isa": isa,
        "synthetic": args.synthetic,
        "rounds": args.rounds,
        "sides": {
            name: raw_times(per_case[name])
            | {
                "times_less_cpu": ratio_of_cpu(per_case[MONAI], per_case[name]),
                "dice_with_truth": [dice(one, truth) for one, truth in zip(found[name], truths, strict=True)],
            }
            for name in sides
        },
    }
    for side in results["sides"].values():
        side["mean_dice"] = round(mean_dice(side["dice_with_truth"]), 5)
        side["mean_dice_less_monai"] = round(side["mean_dice"] - mean_dice(windows_dice), 5)
    results["goals"] = _goals(results)
    name = "volume_pipeline" if isa is None else f"volume_pipeline_{isa.lower()}"
    write_results(results, _text(results), args.output / name)
    print(_text(results))
    return 0


def _truth(path: Path, numbering: str) -> np.ndarray:
    label = LabelToRegions(numbering)(read_volume(path))
    return RegionsToLabeld("label")({"label": label})["label"].numpy()


def _goals(results: Mapping[str, Any]) -> list[Goal]:
    """Compare with the goals that this CPU is to reach."""
    sides, isa = results["sides"], results["isa"]
    windows = "x".join(map(str, results["roi_size"]))
    about = f"{len(results['cases'])} case(s); MONAI: windows of {windows}, weights trained for the foreground's box"
    cpu = isa or ("AMX" if torch.cpu._is_amx_tile_supported() else "this CPU")
    wanted = [("float32 eager", 8.0, ["predict, eager, float32"])]
    wanted += [("best float32 runtime", 12.0, [name for name in sides if name.endswith("float32") and name != MONAI])]
    if isa is None and torch.cpu._is_amx_tile_supported():
        wanted += [("best runtime", 40.0, [name for name in sides if name.startswith("predict")])]
    goals: list[Goal] = []
    for what, goal, names in wanted:
        best = max(names, key=lambda name: sides[name]["times_less_cpu"]["median"])
        ratio, lower = sides[best]["times_less_cpu"], sides[best]["mean_dice_less_monai"]
        met = ratio["median"] >= goal and lower >= -_LARGEST_LOSS
        goals.append(
            {
                "what": f"whole volume against MONAI's default, {what}, {cpu}",
                "goal": f"at least {goal:g}x, Dice not lower by more than {_LARGEST_LOSS}",
                "measured": f"{ratio_text(ratio)}x, mean Dice {lower:+.4f}",
                "met": None if results["synthetic"] else met,
                "note": f"{best}; {about}" + "; synthetic, so the Dice says nothing" * results["synthetic"],
            }
        )
    return goals


def _text(results: Mapping[str, Any]) -> str:
    rows = []
    for name, side in results["sides"].items():
        scores = [f"{side['mean_dice']:.4f} ({side['mean_dice_less_monai']:+.4f})"]
        scores += ["; ".join(_score_text(region, side["dice_with_truth"]) for region in ("WT", "TC", "ET"))]
        times = [f"{statistics.median(side[f'{clock}_seconds']):.2f}" for clock in ("wall", "cpu")]
        rows.append([name, *times, ratio_text(side["times_less_cpu"]), *scores])
    columns = ["side", "wall s a case", "CPU s a case", "times less CPU", "mean Dice (less MONAI's)", "Dice by region"]
    limited = f" limited to {results['isa']}" if results["isa"] else ""
    return (
        f"{', '.join(results['cases'])}; {setting_text(results['machine'], results['rounds'])}{limited}; MONAI's "
        f"windows of {'x'.join(map(str, results['roi_size']))}, overlap 0.5; weights trained for the window: "
        f"{results['window_of_the_weights']}.\n\n{markdown_table(columns, rows)}\n\n{goals_text(results['goals'])}"
    )


def _score_text(region: str, scores: Sequence[Mapping[str, float | None]]) -> str:
    found = [score[region] for score in scores]
    return f"{region} " + ", ".join("none" if score is None else f"{score:.4f}" for score in found)


if __name__ == "__main__":
    sys.exit(main())
