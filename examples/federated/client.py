"""What a site runs: each round, train the bundle on the site's own images from the weights that the server sent.

NVFlare starts it; see README.md.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import nvflare.client as flare
import torch
from monai.fl.client import MonaiAlgo
from monai.fl.utils.constants import ExtraItems, FlStatistics
from monai.fl.utils.exchange_object import ExchangeObject
from nvflare.apis.fl_constant import FLMetaKey


def main() -> None:
    """Train for as long as the server sends rounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--job", type=Path, required=True, help="JSON file of what all sites do alike")
    job = json.loads(parser.parse_args().job.read_text())
    flare.init()
    site = flare.get_site_name()
    data, output = Path(job["sites"]) / site, Path(job["output"]) / site
    algo = MonaiAlgo(
        bundle_root=job["bundle"],
        local_epochs=job["local_epochs"],
        send_weight_diff=False,
        config_evaluate_filename=None,  # the training validates on the site's own part
        train_kwargs={
            "dataset_dir": str(data / "data"),
            "datalist_file": str(data / "datalist.json"),
            "output_dir": str(output),
            "ckpt_dir": str(output / "models"),
            "lr_scheduler#t_total": job["rounds"] * job["local_epochs"],  # one cosine over all rounds
            **job["settings"],
        },
    )
    algo.initialize({ExtraItems.CLIENT_NAME: site})
    while flare.is_running():
        received = flare.receive()
        if received is None:  # the server has ended the job
            break
        algo.train(ExchangeObject(weights={name: torch.as_tensor(value) for name, value in received.params.items()}))
        result = algo.get_weights()
        steps = result.statistics[FlStatistics.NUM_EXECUTED_ITERATIONS]
        flare.send(flare.FLModel(params=result.weights, meta={FLMetaKey.NUM_STEPS_CURRENT_ROUND: steps}))
    algo.finalize()


if __name__ == "__main__":
    main()
