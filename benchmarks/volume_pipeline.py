"""From the files of a brain MRI to its label map: MONAI's usual pipeline against ours, same weights.

    OMP_NUM_THREADS=1 python -m benchmarks.volume_pipeline --image CASE.nii.gz --label LABEL.nii.gz

Four sides, alternately, each in a process of its own: MONAI's sliding windows over the whole volume in float32; the
same windows as ``predict`` runs tiles, in bfloat16, channels last, and with freed memory kept for the next window; the
bundle's own inference, the one that ``predict`` runs, in float32; and the same in bfloat16. Loading and writing back
to the file's grid count.
"""

from __future__ import annotations

import argparse
import functools
import math
import statistics
import sys
from collections.abc import Sequence
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

from benchmarks.measure import alternate, ratio
from pu_unet_monai.data.label_numbering import REGIONS
from pu_unet_monai.evaluation.tables import markdown_table, write_results
from pu_unet_monai.inferers import CPUBFloat16Inferer
from pu_unet_monai.runtime.bundle import TrainedBundle
from pu_unet_monai.runtime.machine import machine
from pu_unet_monai.runtime.malloc import generous_malloc, use_huge_pages
from pu_unet_monai.transforms import LabelToRegions, RegionsToLabeld
from pu_unet_monai.volumes import read_volume

_LABELS = (("L", "R"), ("P", "A"), ("I", "S"))


def monai_windows(bundle: Path, image: Path, roi_size: Sequence[int]) -> np.ndarray:
    """Segment a case with MONAI alone, as model-zoo bundles do, and the bundle's weights."""
    network: Any = trained(bundle).network
    network.to(memory_format=torch.contiguous_format)
    return monai_pipeline(network, image, windows(roi_size))


def same_windows(bundle: Path, image: Path, roi_size: Sequence[int]) -> np.ndarray:
    """Segment a case with the same windows, run as ``predict`` runs its tiles."""
    use_huge_pages()
    with generous_malloc():
        return monai_pipeline(trained(bundle).network, image, CPUBFloat16Inferer(windows(roi_size)))


def predict(bundle: Path, image: Path, amp: bool) -> np.ndarray:
    """Segment a case as ``predict`` does."""
    use_huge_pages()
    return trained(bundle, amp).predict(str(image))["pred"].numpy()


@functools.cache
def trained(bundle: Path, amp: bool = True) -> TrainedBundle:
    """Load a bundle once a process."""
    return TrainedBundle(bundle, overrides={"amp": amp})


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


def main(argv: list[str] | None = None) -> int:
    """Measure, and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--bundle", type=Path, default=Path("bundles/pu_unet_brats"))
    parser.add_argument("--image", type=Path, required=True, help="a 4D NIfTI file")
    parser.add_argument("--label", type=Path, required=True, help="its label map")
    parser.add_argument("--numbering", default="decathlon", help="of the label map")
    parser.add_argument("--roi-size", type=int, nargs=3, default=[128, 128, 128], help="of MONAI's windows")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/volume_pipeline"))
    args = parser.parse_args(argv)

    sides = {
        "MONAI's windows, float32": functools.partial(monai_windows, args.bundle, args.image, args.roi_size),
        "the same windows, bfloat16": functools.partial(same_windows, args.bundle, args.image, args.roi_size),
        "predict, float32": functools.partial(predict, args.bundle, args.image, amp=False),
        "predict, bfloat16": functools.partial(predict, args.bundle, args.image, amp=True),
    }
    names = list(sides)
    same_in_float32 = dict(zip(names, (names[0], names[0], names[2], names[2]), strict=True))
    times, found = alternate(sides, args.rounds)
    label = read_volume(args.label)
    truth = RegionsToLabeld("label")({"label": LabelToRegions(args.numbering)(label)})["label"].numpy()
    results = {
        "case": args.image.name,
        "window_of_the_weights": trained(args.bundle).metadata.get("window"),
        "roi_size": args.roi_size,
        "machine": machine(),
        "rounds": args.rounds,
        "sides": {
            name: {
                "wall_seconds": [round(t, 3) for t in times[name]["wall"]],
                "cpu_seconds": [round(t, 3) for t in times[name]["cpu"]],
                "times_less_cpu": round(ratio(times[names[0]]["cpu"], times[name]["cpu"]).median, 2),
                "dice_with_truth": dice(found[name], truth),
                "dice_with_float32": dice(found[name], found[same_in_float32[name]]),
            }
            for name in names
        },
    }
    write_results(results, _text(results), args.output)
    print(_text(results))
    return 0


def _text(results: dict[str, Any]) -> str:
    rows = []
    for name, side in results["sides"].items():
        scores = (side["dice_with_truth"], side["dice_with_float32"])
        shown = [", ".join(_score_text(region, score[region]) for region in ("WT", "TC", "ET")) for score in scores]
        wall, cpu = (statistics.median(side[key]) for key in ("wall_seconds", "cpu_seconds"))
        rows.append([name, f"{wall:.2f}", f"{cpu:.2f}", f"{side['times_less_cpu']:.1f}", *shown])
    columns = ["side", "wall s", "CPU s", "times less CPU", "Dice with truth", "Dice with the same in float32"]
    about = results["machine"]
    return (
        f"{results['case']}, median of {results['rounds']} alternating rounds, {about['threads']} thread(s), "
        f"{about['processor']} (AMX {about['amx']}, AVX512-BF16 {about['avx512_bf16']}), torch {about['torch']}, "
        f"MONAI {about['monai']}; windows of {'x'.join(map(str, results['roi_size']))}, overlap 0.5; weights trained "
        f"for the window: {results['window_of_the_weights']}.\n\n{markdown_table(columns, rows)}"
    )


def _score_text(region: str, score: float | None) -> str:
    return f"{region} none" if score is None else f"{region} {score:.4f}"


if __name__ == "__main__":
    sys.exit(main())
