"""Options that several commands have."""

from __future__ import annotations

import argparse

__all__ = ["add_trust"]


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Declare ``--trust``."""
    parser.add_argument(
        "--trust",
        action="store_true",
        help="run the bundle's configuration even if it holds code beyond components of MONAI, PyTorch and this "
        "package; see inspect",
    )
