"""One zip a bundle, as MONAI's model zoo has them: the bundle's folder, and in it the files that git tracks.

    python -m tools.bundle_zips --output dist

The same files give the same bytes: names are sorted, and dates and permissions fixed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

from pu_unet_monai.errors import UserError
from pu_unet_monai.files import atomic_path

REPOSITORY = Path(__file__).resolve().parents[1]
_FIRST_DATE = (1980, 1, 1, 0, 0, 0)  # that a zip can hold
_UNIX, _READABLE = 3, 0o100644


def tracked_files(folder: Path) -> list[Path]:
    """List the files below a folder that git tracks, sorted: no output, no data, no weights of one's own.

    Raises:
        UserError: if git cannot tell, or a file is missing.
    """
    listed = subprocess.run(["git", "ls-files", "-z", "."], cwd=folder, capture_output=True, text=True)
    if listed.returncode:
        raise UserError(f"{folder}: git cannot list its files ({listed.stderr.strip()}); run this in a checkout.")
    files = sorted(folder / name for name in listed.stdout.split("\0") if name)
    missing = [str(path) for path in files if not path.is_file()]
    if missing:
        raise UserError(f"tracked by git, but missing: {', '.join(missing)}; git checkout brings them back.")
    return files


def write_zip(bundle: Path, output: Path) -> Path:
    """Write ``<bundle>-v<version of its metadata>.zip``.

    Args:
        bundle: the bundle's folder.
        output: where to write; made if missing.

    Returns:
        The zip.
    """
    version = json.loads((bundle / "configs" / "metadata.json").read_text(encoding="utf-8"))["version"]
    final = output / f"{bundle.name}-v{version}.zip"
    with atomic_path(final) as path, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in tracked_files(bundle):
            entry = zipfile.ZipInfo(file.relative_to(bundle.parent).as_posix(), _FIRST_DATE)
            entry.create_system, entry.external_attr = _UNIX, _READABLE << 16
            archive.writestr(entry, file.read_bytes(), zipfile.ZIP_DEFLATED)
    return final


def main(argv: Sequence[str] | None = None) -> int:
    """Write the zips of all bundles."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], allow_abbrev=False)
    parser.add_argument("--output", type=Path, default=Path("dist"))
    args = parser.parse_args(argv)
    try:
        for metadata in sorted((REPOSITORY / "bundles").glob("*/configs/metadata.json")):
            written = write_zip(metadata.parents[1], args.output)
            print(f"{written}  {written.stat().st_size / 1e6:.1f} MB")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
