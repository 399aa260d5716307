from __future__ import annotations

import json
import statistics
from pathlib import Path

from benchmarks import scaling
from pu_unet_monai.runtime.precision import cpu_is_fast_in_bfloat16


def test_a_point_takes_memory() -> None:
    """The first pass takes at least what was counted for a network of convolutions in float32."""
    point = scaling.Point("PU-UNet", "float32", (1, 4, 32, 32, 32))
    found = scaling.run(point)
    assert found.peak > found.before > 0
    assert 0 < found.cpu < 60
    (summary,) = [scaling._summary(point, [found])]
    assert (summary["series"], summary["length"]) == ("3D", 32**3)
    assert summary["counted_bytes"] > 4 * 32**3 * (16 + 16)  # an image of 16 channels and one made of it
    assert scaling._summary(scaling.Point("PU-UNet", "float32", (3, 3, 16, 24)), [found])["length"] == 3


def test_tables_and_pictures(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(scaling, "IMAGE_SIZE", (32, 32))
    arguments = ["--cubes", "20", "--batches", "1", "2", "--rounds", "1", "--output", str(tmp_path)]
    assert scaling.main(arguments) == 0
    results = json.loads((tmp_path / "scaling.json").read_text())
    precisions = ["float32", "bfloat16"] if cpu_is_fast_in_bfloat16() else ["float32"]
    inputs = [[1, 4, 20, 20, 20], [1, 3, 32, 32], [2, 3, 32, 32]]
    assert [(p["input_size"], p["precision"], p["network"]) for p in results["points"]] == [
        (size, precision, network) for size in inputs for precision in precisions for network in scaling.NETWORKS
    ]
    for point in results["points"]:
        assert len(point["cpu_seconds"]) == len(point["wall_seconds"]) == 1
        assert 100e6 < point["resident_bytes_before"][0] < point["peak_resident_bytes"][0]
    ours, theirs = results["points"][:2]
    ratio = statistics.median(ours["cpu_seconds"]) / statistics.median(theirs["cpu_seconds"])
    assert abs(results["ratios"][0]["median"] - ratio) < 2e-3
    assert [r["input_size"] for r in results["ratios"]] == [size for size in inputs for _ in precisions]
    counted = {(p["network"], p["precision"], *p["input_size"]): p["counted_bytes"] for p in results["points"]}
    assert 1 < counted["PU-UNet", "float32", 2, 3, 32, 32] / counted["PU-UNet", "float32", 1, 3, 32, 32] <= 2
    text = (tmp_path / "scaling.md").read_text()
    assert text.count("| 1x4x20x20x20 |") == len(precisions) * 3
    assert text.strip() == capsys.readouterr().out.strip()
    for name in ("scaling_time.png", "scaling_memory.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
