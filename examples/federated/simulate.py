"""Train a bundle at several sites that keep their images, in NVFlare's simulator on one machine."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from monai.utils import set_determinism

from pu_unet_monai.config_keys import check_keys, parse_settings
from pu_unet_monai.data import load_datalist
from pu_unet_monai.errors import UserError, find_user_error
from pu_unet_monai.files import atomic_path, make_folder

CLIENT = Path(__file__).with_name("client.py")


def main(argv: list[str] | None = None) -> int:
    """Run the simulation and return the exit code: 0, or 2 for a user's mistake."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--bundle", type=Path, required=True, help="folder of the bundle to train")
    parser.add_argument(
        "--sites", type=Path, required=True, help="a folder for each site, with its images (data/) and datalist.json"
    )
    parser.add_argument(
        "--output", type=Path, required=True, help="new folder for the global model and the sites' logs"
    )
    parser.add_argument("--rounds", type=int, default=2, help="times that weights are averaged (default 2)")
    parser.add_argument("--local-epochs", type=int, default=1, help="epochs at each site in a round (default 1)")
    parser.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[], help="override a key of train.json; may be repeated"
    )
    args = parser.parse_args(argv)
    try:
        simulate(args)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def simulate(args: argparse.Namespace) -> None:
    """Train, and write ``models/model.pt`` (the global weights) and a folder for each site.

    Raises:
        UserError: if the options or the sites' data are wrong, or the simulation fails.
    """
    try:
        from nvflare.app_opt.pt.recipes.fedavg import FedAvgRecipe
        from nvflare.recipe import SimEnv
    except ImportError as error:
        raise UserError("NVFlare is not installed: pip install -c constraints.txt -e .[federated]") from error
    if min(args.rounds, args.local_epochs) < 1:
        raise UserError(f"--rounds {args.rounds} --local-epochs {args.local_epochs}: both must be 1 or more.")
    settings = parse_settings(args.set)
    network_def, seed = _read_bundle(args.bundle, settings)
    sites = _check_sites(args.sites)
    output = args.output.resolve()
    if output.exists() or " " in str(output):  # NVFlare splits a client's arguments at spaces
        raise UserError(f"--output {output}: exists, or has a space in its path; choose another folder.")
    make_folder(output)
    job = {
        "bundle": str(args.bundle.resolve()),
        "sites": str(args.sites.resolve()),
        "output": str(output / "sites"),
        "rounds": args.rounds,
        "local_epochs": args.local_epochs,
        "settings": settings,
    }
    (output / "job.json").write_text(json.dumps(job, indent=2))
    set_determinism(seed)
    torch.save(network_def.instantiate().state_dict(), output / "initial.pt")
    recipe = FedAvgRecipe(
        name="simulation",
        min_clients=len(sites),
        num_rounds=args.rounds,
        model={"class_path": network_def.resolve_module_name(), "args": _arguments(network_def)},
        initial_ckpt=str(output / "initial.pt"),
        train_script=str(CLIENT),
        train_args=f"--job {output / 'job.json'}",
    )
    workspace = output / recipe.name
    try:
        recipe.execute(SimEnv(clients=sites, workspace_root=str(output), log_config="concise"))
    except RuntimeError as error:
        raise UserError(_reasons(workspace, sites)) from error
    result = workspace / "server" / "simulate_job" / "app_server" / "FL_global_model.pt"
    weights = torch.load(result, weights_only=True)["model"]
    with atomic_path(output / "models" / "model.pt") as path:
        torch.save({name: torch.as_tensor(value) for name, value in weights.items()}, path)
    print(f"global weights of {len(sites)} sites after {args.rounds} rounds: {output / 'models' / 'model.pt'}")


def _read_bundle(bundle: Path, settings: dict[str, Any]) -> tuple[Any, int]:
    """Return the definition of the network that all sites train, and the seed of its first weights."""
    path = bundle / "configs" / "train.json"
    if not path.is_file():
        raise UserError(f"--bundle {bundle}: not a bundle that can be trained, there is no {path}.")
    parser = ConfigParser()
    parser.read_config(path)
    check_keys(settings, parser.get(), str(path))
    parser.update({"bundle_root": str(bundle), **settings})
    return parser.get_parsed_content("network_def", instantiate=False), parser.get_parsed_content("seed")


def _arguments(network_def: Any) -> dict[str, Any]:
    return {key: value for key, value in network_def.get_config().items() if not key.startswith("_")}


def _check_sites(folder: Path) -> list[str]:
    """Return the names of the sites, whose data are all there."""
    sites = sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    if len(sites) < 2:
        raise UserError(f"--sites {folder}: expected a folder for each of two sites or more, found {sites or 'none'}.")
    problems = []
    for site in sites:
        try:
            for section in ("training", "validation"):
                load_datalist(folder / site / "datalist.json", folder / site / "data", section)
        except UserError as error:
            problems.append(f"site {site}: {error}")
    if problems:
        raise UserError("\n".join(problems))
    return sites


def _reasons(workspace: Path, sites: list[str]) -> str:
    """Say what ended the simulation: the mistakes that the sites' logs name, or where the logs are."""
    reasons = []
    for site in sites:
        log = workspace / site / "error_log.txt"
        error = find_user_error(RuntimeError(log.read_text())) if log.is_file() else None
        if error:
            reasons.append(f"site {site}: {error}")
    return "\n".join(reasons) or f"the simulation failed, see log.txt in the folders of {workspace}."


if __name__ == "__main__":
    sys.exit(main())
