from __future__ import annotations

import torch

from pu_unet_monai.transforms import FinestOutput, FinestOutputd


def test_first_of_several():
    outputs = [torch.zeros(1, 4, 4), torch.ones(1, 4, 4)]
    assert FinestOutput()(outputs) is outputs[0]
    item = {"pred": outputs, "label": torch.ones(1, 4, 4)}
    found = FinestOutputd("pred")(item)
    assert found["pred"] is outputs[0]
    assert found["label"] is item["label"]
    assert item["pred"] is outputs


def test_single_output_stays():
    output = torch.rand(2, 4, 4)
    assert FinestOutput()(output) is output
