"""Each bad file of weights is an error that names it, or holds the same weights; none runs code."""

from __future__ import annotations

import pytest
import torch

from pu_unet_monai.errors import UserError
from pu_unet_monai.networks.nets import PUUNet
from pu_unet_monai.runtime.weights import load_weights
from tests.reliability.bad_weights import bad_weights
from tests.reliability.time_limit import at_most


@pytest.mark.filterwarnings("ignore")
def test_each_file_is_an_error_or_the_same_weights(tmp_path, record):
    network = PUUNet(channels=(8, 16))
    expected = {name: value.clone() for name, value in network.state_dict().items()}
    torch.save(expected, tmp_path / "good.pt")
    trap = tmp_path / "was_run"
    tried, errors = 0, 0
    for name, content in bad_weights((tmp_path / "good.pt").read_bytes(), trap):
        path = tmp_path / f"{name}.pt"
        path.write_bytes(content)
        tried += 1
        with torch.no_grad():
            for value in network.parameters():
                value.zero_()
        try:
            with at_most(60):
                load_weights(network, path)
        except UserError as error:
            errors += 1
            text = str(error)
            assert text.startswith(f"{path}: "), name
            assert "\n" not in text, name
            continue
        for key, value in network.state_dict().items():
            torch.testing.assert_close(value, expected[key], rtol=0, atol=0, msg=name)
    assert not trap.exists()
    assert errors < tried
    record("bad inputs", "files of weights", {"tried": tried, "errors": errors, "right": tried - errors})
