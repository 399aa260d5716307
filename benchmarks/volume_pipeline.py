"""From the files of a brain MRI to its label map: MONAI's usual pipeline against ours, same weights.

    OMP_NUM_THREADS=1 python -m benchmarks.volume_pipeline --image CASE.nii.gz --label LABEL.nii.gz

Three sides, alternately in one process: MONAI's sliding windows over the whole volume in float32; the same windows in
bfloat16; and what ``predict`` does, the bundle's own inference. Loading and writing back to the file's grid count.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from monai.data import MetaTensor, decollate_batch, list_data_collate
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

from benchmarks.measure import alternate, machine, markdown_table, median_ratio, write_results
from pu_unet_monai.data.label_numbering import REGIONS
from pu_unet_monai.inferers import CPUBFloat16Inferer
from pu_unet_monai.runtime.bundle import TrainedBundle
from pu_unet_monai.transforms import LabelToRegions, RegionsToLabeld
from pu_unet_monai.volumes import read_volume

_LABELS = (("L", "R"), ("P", "A"), ("I", "S"))


def monai_pipeline(bundle: TrainedBundle, image: Path, inferer: Inferer) -> MetaTensor:
    """Segment a case with MONAI's transforms alone, as model-zoo bundles do, and the bundle's weights."""
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
        batch["pred"] = inferer(batch["image"].to(bundle.device), bundle.network)
    return after(decollate_batch(batch)[0])["pred"]


def dice(first: MetaTensor, second: MetaTensor) -> dict[str, float]:
    """Return the Dice of two label maps (numbering brats), region by region."""
    to_regions = LabelToRegions("brats")
    scores = compute_dice(to_regions(first)[None].as_tensor(), to_regions(second)[None].as_tensor())[0]
    return {region: round(float(score), 5) for region, score in zip(REGIONS, scores, strict=True)}


def main(argv: list[str] | None = None) -> int:
    """Measure, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, default=Path("bundles/pu_unet_brats"))
    parser.add_argument("--image", type=Path, required=True, help="a 4D NIfTI file")
    parser.add_argument("--label", type=Path, required=True, help="its label map")
    parser.add_argument("--numbering", default="decathlon", help="of the label map")
    parser.add_argument("--roi-size", type=int, nargs=3, default=[128, 128, 128], help="of MONAI's windows")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/volume_pipeline"))
    args = parser.parse_args(argv)

    bundle = TrainedBundle(args.bundle)
    windows = SlidingWindowInferer(args.roi_size, sw_batch_size=1, overlap=0.5)
    found: dict[str, Any] = {}

    def keep(name: str, segment: Callable[[], MetaTensor]) -> Callable[[], None]:
        return lambda: found.update({name: segment()})

    sides = {
        "MONAI's windows, float32": lambda: monai_pipeline(bundle, args.image, windows),
        "the same windows, bfloat16": lambda: monai_pipeline(bundle, args.image, CPUBFloat16Inferer(windows)),
        "predict": lambda: bundle.predict(str(args.image))["pred"],
    }
    times = alternate({name: keep(name, segment) for name, segment in sides.items()}, args.rounds)
    label = read_volume(args.label)
    truth = RegionsToLabeld("label")({"label": LabelToRegions(args.numbering)(label)})["label"]
    reference = next(iter(sides))
    results = {
        "case": args.image.name,
        "window_of_the_weights": bundle.metadata.get("window"),
        "roi_size": args.roi_size,
        "machine": machine(),
        "rounds": args.rounds,
        "sides": {
            name: {
                "wall_seconds": [round(t, 3) for t in times[name]["wall"]],
                "cpu_seconds": [round(t, 3) for t in times[name]["cpu"]],
                "times_less_cpu": round(median_ratio(times[reference]["cpu"], times[name]["cpu"]), 2),
                "dice_with_truth": dice(found[name], truth),
                "dice_with_reference": dice(found[name], found[reference]),
            }
            for name in sides
        },
    }
    write_results(results, _text(results), args.output)
    print(_text(results))
    return 0


def _text(results: dict[str, Any]) -> str:
    rows = []
    for name, side in results["sides"].items():
        scores = (side["dice_with_truth"], side["dice_with_reference"])
        shown = [", ".join(f"{region} {score[region]:.4f}" for region in ("WT", "TC", "ET")) for score in scores]
        wall, cpu = (statistics.median(side[key]) for key in ("wall_seconds", "cpu_seconds"))
        rows.append([name, f"{wall:.2f}", f"{cpu:.2f}", f"{side['times_less_cpu']:.1f}", *shown])
    columns = ["side", "wall s", "CPU s", "times less CPU", "Dice with truth", "Dice with the first side"]
    about = results["machine"]
    return (
        f"{results['case']}, median of {results['rounds']} alternating rounds, {about['threads']} thread(s), "
        f"{about['processor']} (AMX {about['amx']}, AVX512-BF16 {about['avx512_bf16']}), torch {about['torch']}, "
        f"MONAI {about['monai']}; windows of {'x'.join(map(str, results['roi_size']))}, overlap 0.5; weights trained "
        f"for the window: {results['window_of_the_weights']}.\n\n{markdown_table(columns, rows)}"
    )


if __name__ == "__main__":
    sys.exit(main())
