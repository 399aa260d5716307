"""``python -m pu_unet_monai <command>``: exit code 0 all done, 1 some cases failed, 2 wrong use.

130 after Ctrl-C, 143 after SIGTERM. What takes long to import is imported when that is taken care of.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import os
import signal
import sys
from collections.abc import Sequence

from pu_unet_monai import __version__
from pu_unet_monai.errors import INTERRUPTED, find_mendable, print_error
from pu_unet_monai.interrupts import TERMINATED, Terminated, end_at_once, end_in_order

COMMANDS = {
    "predict": "segment a folder of images with a trained bundle",
    "evaluate": "score a trained bundle on a part of a dataset, with intervals and a report to look at",
    "compare": "train variants of a bundle side by side, and table what each costs and reaches",
    "inspect": "look at a bundle without running anything in it",
    "export": "write a trained network as TorchScript, ONNX and OpenVINO",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: the arguments, those of the program by default.

    Returns:
        The exit code.
    """
    try:
        args = _parse(argv)
        end_in_order()
        code = args.run(args)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # whoever read has enough, as head has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except Terminated:
        print("terminated", file=sys.stderr)
        return TERMINATED
    except Exception as error:
        user_error = find_mendable(error)
        if user_error is None:
            raise
        print_error(user_error)
        return 2


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    from pu_unet_monai.runtime.kernel_cache import bound_kernel_cache

    bound_kernel_cache()
    parser = argparse.ArgumentParser(
        prog="python -m pu_unet_monai", description="PU-UNet for MONAI.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=__version__)
    subparsers = parser.add_subparsers(dest="command", required=True)
    for name, summary in COMMANDS.items():
        command = importlib.import_module(f"pu_unet_monai.commands.{name}")
        subparser = subparsers.add_parser(name, help=summary, description=command.__doc__, allow_abbrev=False)
        command.add_arguments(subparser)
        subparser.set_defaults(run=command.run)
    args, unknown = parser.parse_known_args(argv)
    if unknown:
        subparsers.choices[args.command].error(_advice(unknown, subparsers.choices[args.command]))
    return args


def _advice(unknown: Sequence[str], parser: argparse.ArgumentParser) -> str:
    """Say what is not known, with the nearest option that is."""
    options = [option for action in parser._actions for option in action.option_strings]
    nearest = difflib.get_close_matches(unknown[0].partition("=")[0], options, n=1)
    hint = f"did you mean {nearest[0]}?" if nearest else "a key of the bundle's configuration is set by --set KEY=VALUE"
    return f"unrecognized arguments: {' '.join(unknown)}; {hint}"


if __name__ == "__main__":
    end_at_once()
    code = main()
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # there is nothing left that Ctrl-C could spoil
    sys.exit(code)
