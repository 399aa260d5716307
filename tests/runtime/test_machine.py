from __future__ import annotations

import importlib.util

import torch

from pu_unet_monai.runtime.machine import machine, openvino_version


def test_says_what_ran():
    found = machine()
    assert found["torch"] == torch.__version__
    assert found["threads"] == torch.get_num_threads()
    assert found["processor"]
    assert found["openvino"] == openvino_version()
    assert (openvino_version() is None) == (importlib.util.find_spec("openvino") is None)
    assert (found["gpu"] is None) == (not torch.cuda.is_available())
