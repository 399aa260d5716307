"""``python -m pu_unet_monai <command>``: exit code 0 all done, 1 some cases failed, 2 wrong use."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from pu_unet_monai import __version__
from pu_unet_monai.errors import find_user_error
from pu_unet_monai.runtime.malloc import use_huge_pages

COMMANDS = {"predict": "segment a folder of images with a trained bundle"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: the arguments, those of the program by default.

    Returns:
        The exit code.
    """
    use_huge_pages()
    parser = argparse.ArgumentParser(prog="python -m pu_unet_monai", description="PU-UNet for MONAI.")
    parser.add_argument("--version", action="version", version=__version__)
    subparsers = parser.add_subparsers(dest="command", required=True)
    for name, summary in COMMANDS.items():
        command = importlib.import_module(f"pu_unet_monai.commands.{name}")
        subparser = subparsers.add_parser(name, help=summary, description=command.__doc__)
        command.add_arguments(subparser)
        subparser.set_defaults(run=command.run)
    args = parser.parse_args(argv)
    try:
        return args.run(args)
    except Exception as error:
        user_error = find_user_error(error)
        if user_error is None:
            raise
        print(f"error: {user_error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
