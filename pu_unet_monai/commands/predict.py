"""Segment images, or brain MRI volumes, with a trained bundle."""

from __future__ import annotations

import argparse
import importlib
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from tqdm import tqdm

from pu_unet_monai.commands.options import add_trust
from pu_unet_monai.config_keys import parse_settings
from pu_unet_monai.data.dicom_files import holds_dicom
from pu_unet_monai.errors import INTERRUPTED, UserError, find_mendable, first_cause, join_some, tell_torchrun
from pu_unet_monai.evaluation.pictures import NOTICE
from pu_unet_monai.files import make_folder, write_json
from pu_unet_monai.inferers.runtime import AUTO, RuntimeInferer
from pu_unet_monai.interrupts import TERMINATED, Terminated
from pu_unet_monai.printable import printable, say
from pu_unet_monai.runtime.accelerate import PRECISIONS, RUNTIMES
from pu_unet_monai.runtime.bundle import TrainedBundle
from pu_unet_monai.runtime.cases import Cases
from pu_unet_monai.runtime.earlier_results import EarlierResult, earlier_results, warn_of_other_weights
from pu_unet_monai.runtime.malloc import keep_freed_memory
from pu_unet_monai.runtime.memory import peak_resident_bytes
from pu_unet_monai.runtime.processes import Processes
from pu_unet_monai.runtime.provenance import provenance
from pu_unet_monai.runtime.segment_image import find_images, segment_image
from pu_unet_monai.runtime.segment_volume import find_volumes, segment_volume

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--bundle", type=Path, required=True, help="folder of a bundle with weights")
    add_trust(parser)
    parser.add_argument(
        "--input",
        type=Path,
        required=True,
        help="an image or a folder of them; for volumes a 4D file, a folder of cases (4D files, or four files "
        "each), or a folder of DICOM series",
    )
    parser.add_argument("--output", type=Path, required=True, help="folder for masks, pictures and report.json")
    parser.add_argument("--device", help="such as cpu or cuda:0; by default a GPU if there is one")
    parser.add_argument(
        "--runtime",
        choices=[AUTO, *RUNTIMES],
        help="what computes: eager (PyTorch), compile (PyTorch's compiler, which takes minutes to start), openvino; by "
        "default openvino for volumes in float32 on a CPU where it is installed, else eager",
    )
    parser.add_argument(
        "--precision", choices=[AUTO, *PRECISIONS], help="by default bfloat16 where the hardware is fast in it"
    )
    parser.add_argument(
        "--probabilities", action="store_true", help="volumes: also write <case>_prob.nii.gz, a channel a region"
    )
    parser.add_argument(
        "--numbering", choices=["brats", "decathlon"], help="volumes: label numbers to write (default brats: 1, 2, 3)"
    )
    parser.add_argument(
        "--series",
        metavar="MODALITY=SERIES",
        action="append",
        default=[],
        help="DICOM: number, UID or description of the series to take as FLAIR, T1w, T1gd or T2w; may be repeated",
    )
    parser.add_argument(
        "--patient-ids",
        action="store_true",
        help="DICOM: name results by the patient's ID and the date, not by a hash, and show the series' UIDs and whole "
        "descriptions",
    )
    parser.add_argument(
        "--force", action="store_true", help="volumes: segment what does not look co-registered and skull-stripped too"
    )
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="override a key of inference.json: image_size=128, ckpt_dir=..., memory_budget=4GB; may be repeated",
    )


def run(args: argparse.Namespace) -> int:
    """Segment all cases, write a mask or label map and a picture of each, and ``report.json``.

    A case that fails does not stop the others. Processes that ``torchrun`` started share the cases out; the first
    of them reports. A report is written before the first case, too: of a program that is killed it stays, unfinished.

    Args:
        args: the parsed options.

    Returns:
        The exit code: 0 if all cases were segmented, 1 if some failed, 130 after Ctrl-C, 143 after SIGTERM.

    Raises:
        UserError: if nothing can be done at all.
    """
    processes = Processes()
    args.device = args.device or processes.default_device()
    bundle = TrainedBundle(args.bundle, _overrides(args), args.trust)
    cases, segment = _find(bundle, args)
    cases = processes.agree(cases)
    if args.output.resolve() in {folder.resolve() for folder in cases.folders}:
        raise UserError(f"--output {args.output}: holds the images themselves; choose another folder.")
    make_folder(args.output)
    if processes.is_first:
        warn_of_other_weights(args.output, bundle.weights_sha256)
        nothing = {"cases": [], "failed": [], "skipped": cases.skipped, "not_run": [*cases.found]}
        _write_report(args.output, bundle, {"finished": False, **nothing})
    with keep_freed_memory():
        results, stopped = _segment_each(
            processes.share(cases.found),
            lambda case: segment(case) | {"runtime": _runtime(bundle)},
            lambda name: earlier_results(args.output, Path(name).stem if bundle.spatial_dims == 2 else name),
            silent=not processes.is_first,
        )
    if isinstance(stopped, Terminated) and processes.count > 1:
        raise stopped  # by torchrun, perhaps as another process is gone, for which there is no waiting
    shares = processes.gather((results, stopped, _peak_bytes(bundle.device)))
    if not shares:
        return 0
    results = {name: result for of_one, _, _ in shares for name, result in of_one.items()}
    stopped = next(filter(None, (stopped for _, stopped, _ in shares)), None)
    in_order = [results[name] for name in cases.found if name in results]
    done = [result for result in in_order if "error" not in result]
    failed = [{"image": None, "error": problem} for problem in cases.problems]
    failed += [result for result in in_order if "error" in result]
    not_run = [name for name in cases.found if name not in results]
    outcome = {"cases": done, "failed": failed, "skipped": cases.skipped, "not_run": not_run}
    peak_mb = round(max(peak for *_, peak in shares) / 1e6)
    weights_note = _write_report(args.output, bundle, {"finished": True, "peak_memory_mb": peak_mb, **outcome})
    if cases.skipped:
        say(f"left aside: {join_some(cases.skipped)}")
    for case in done:
        if "note" in case:
            say(f"{case['case']}: {case['note']}")
        if "warning" in case:
            say(f"warning: {case['case']}: {case['warning']}")
    for failure in failed:
        say("failed: " + ": ".join(filter(None, failure.values())))
    say(f"{len(done)} of {len(cases.found) + len(cases.problems)} cases segmented: {args.output}")
    for how in sorted({"{runtime} in {precision}".format(**case["runtime"]) for case in done if case["runtime"]}):
        say(f"computed by {how}")
    if weights_note:
        say(f"weights: {weights_note}")
    say(NOTICE)
    if stopped:
        terminated = isinstance(stopped, Terminated)
        say(f"{'terminated' if terminated else 'interrupted'}; not run: {join_some(not_run)}")
        return TERMINATED if terminated else INTERRUPTED
    if failed:
        tell_torchrun(f"{len(failed)} cases failed, see {args.output / 'report.json'}")
        return 1
    return 0


def _segment_each(
    cases: dict[str, Any],
    segment: Callable[[Any], dict[str, Any]],
    results_of: Callable[[str], set[EarlierResult]],
    silent: bool,
) -> tuple[dict[str, dict[str, Any]], BaseException | None]:
    """Segment cases one by one; of one that fails, say what lies there from before, lest it be taken for its result.

    Returns:
        What the report says of each that was done, a failed one having an ``error``; and what ended the program in
        between, Ctrl-C or SIGTERM, if anything did: of the case that it met, nothing that was written stays.
    """
    results: dict[str, dict[str, Any]] = {}
    for name, case in tqdm(cases.items(), desc="segmenting", unit="case", disable=silent or None):
        started, earlier = time.perf_counter(), results_of(name)
        try:
            results[name] = segment(case) | {"seconds": round(time.perf_counter() - started, 3)}
        except (KeyboardInterrupt, Terminated) as stopped:
            for file in results_of(name) - earlier:
                file.path.unlink(missing_ok=True)
            return results, stopped
        except Exception as error:
            reason = str(find_mendable(error) or first_cause(error))
            if older := sorted(file.path.name for file in earlier & results_of(name)):
                reason += f"; of an earlier run there still is {join_some(older)}"
            results[name] = {"image": name, "error": printable(reason)}
    return results, None


def _find(bundle: TrainedBundle, args: argparse.Namespace) -> tuple[Cases, Callable[[Any], dict[str, Any]]]:
    """Return the cases and what segments one of them."""
    if args.probabilities and bundle.probabilities is None:
        raise UserError(f"--probabilities: the bundle {bundle.folder} offers none; leave it out.")
    if bundle.spatial_dims == 2:
        try:
            return find_images(args.input), lambda image: segment_image(bundle, image, args.output)
        except UserError:
            if not holds_dicom(args.input):
                raise
        raise UserError(f"--input {args.input}: DICOM, but this bundle takes PNG or JPEG images; export them as such.")
    if not holds_dicom(args.input):
        for option in ("series", "patient_ids"):
            if getattr(args, option):
                name = option.replace("_", "-")
                raise UserError(f"--{name}: only for DICOM, and --input {args.input} holds none; leave it out.")
        return find_volumes(args.input), lambda case: segment_volume(bundle, case, args.output, args.probabilities)
    if args.output.resolve().is_relative_to(args.input.resolve()):
        raise UserError(f"--output {args.output}: lies in the folder of the study; choose another one.")
    dicom = _import_dicom(args.input)
    cases: Cases = dicom.find_dicom(args.input, bundle.channel_names, args.series, args.patient_ids)
    return cases, lambda study: dicom.segment_study(bundle, study, args.output, args.probabilities, args.force)


def _import_dicom(folder: Path) -> ModuleType:
    try:
        return importlib.import_module("pu_unet_monai.runtime.segment_study")
    except ImportError as error:
        raise UserError(
            f"--input {folder}: DICOM needs packages that are not installed ({error}): "
            'pip install highdicom "pydicom>=3" python-gdcm.'
        ) from error


def _overrides(args: argparse.Namespace) -> dict[str, Any]:
    overrides = parse_settings(args.set)
    if args.device:
        try:
            overrides["device"] = torch.zeros(1, device=args.device).device
        except (RuntimeError, AssertionError) as error:
            raise UserError(f"--device {args.device}: not usable here ({str(error).splitlines()[0]}).") from error
    if args.force:
        overrides["force"] = True
    for key in ("numbering", "runtime", "precision"):
        if getattr(args, key):
            overrides[key] = getattr(args, key)
    return overrides


def _runtime(bundle: TrainedBundle) -> dict[str, Any] | None:
    """Say what computed the last case, if its bundle knows."""
    return bundle.inferer.last if isinstance(bundle.inferer, RuntimeInferer) else None


def _write_report(output: Path, bundle: TrainedBundle, outcome: dict[str, Any]) -> str | None:
    """Write ``report.json`` and return what the bundle's metadata say of these very weights."""
    report = {**provenance(bundle), "device": str(bundle.device), **outcome}
    write_json(output / "report.json", report)
    return report["weights_note"]


def _peak_bytes(device: torch.device) -> int:
    """Most memory that was held since the start: on a GPU by tensors, else by the whole process."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else peak_resident_bytes()
