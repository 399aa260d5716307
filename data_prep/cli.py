"""What the command lines of all modules share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from pu_unet_monai.errors import INTERRUPTED, find_mendable, print_error
from pu_unet_monai.interrupts import TERMINATED, Terminated, end_in_order

__all__ = ["dataset_parser", "new_parser", "run"]


def new_parser(module: str, description: str, seeded: bool = True) -> argparse.ArgumentParser:
    """Return a parser with the option that nearly every module has, ``--seed``.

    Args:
        module: name of the module, as in ``python -m data_prep.<module>``.
        description: one sentence for ``--help``.
        seeded: whether anything is drawn at random, else there is no ``--seed``.
    """
    parser = argparse.ArgumentParser(prog=f"python -m data_prep.{module}", description=description, allow_abbrev=False)
    if seeded:
        parser.add_argument("--seed", type=_seed, default=42, help="the same seed gives the same result (default 42)")
    return parser


def dataset_parser(module: str, description: str, seeded: bool = True) -> argparse.ArgumentParser:
    """Return the parser of a module that reads one published dataset: ``--source``, ``--output``, ``--seed``.

    Args:
        module: name of the module, as in ``python -m data_prep.<module>``.
        description: one sentence for ``--help``.
        seeded: as for :func:`new_parser`.
    """
    parser = new_parser(module, description, seeded)
    parser.add_argument("--source", type=Path, required=True, help="folder of the dataset as published; only read")
    parser.add_argument("--output", type=Path, required=True, help="datalist to write, a .json file")
    return parser


def run(
    action: Callable[[argparse.Namespace], None], parser: argparse.ArgumentParser, argv: Sequence[str] | None
) -> int:
    """Parse the command line, do the work and return the exit code.

    It is 0, 2 for a user's mistake, 130 after Ctrl-C, 143 after SIGTERM.

    Args:
        action: does the work; a ``UserError`` that it raises, and what the machine refuses, is printed as one message
            without traceback.
        parser: parser of the module.
        argv: arguments without the program's name; None means ``sys.argv``.
    """
    args = parser.parse_args(argv)
    try:
        end_in_order()
        action(args)
    except KeyboardInterrupt:
        print("interrupted; nothing was written", file=sys.stderr)
        return INTERRUPTED
    except Terminated:
        print("terminated; nothing was written", file=sys.stderr)
        return TERMINATED
    except Exception as error:
        user_error = find_mendable(error)
        if user_error is None:
            raise
        print_error(user_error)
        return 2
    return 0


def _seed(text: str) -> int:
    seed = int(text)
    if not 0 <= seed < 2**32:
        raise argparse.ArgumentTypeError(f"{seed}: expected a number from 0 to {2**32 - 1}")
    return seed
