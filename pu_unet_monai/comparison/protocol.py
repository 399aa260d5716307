"""What all trainings of a comparison share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from monai.bundle import ConfigParser
from monai.utils import ensure_tuple

from pu_unet_monai import __version__
from pu_unet_monai.comparison.variants import Variant
from pu_unet_monai.config_keys import check_keys
from pu_unet_monai.data.case_name import name_of_files
from pu_unet_monai.data.datalist import load_datalist
from pu_unet_monai.errors import UserError, join_some
from pu_unet_monai.files import file_sha256
from pu_unet_monai.inspection.config_code import refuse_foreign_code

__all__ = ["Protocol"]


@dataclass(frozen=True)
class Protocol:
    """Bundle, data, split and settings of a comparison.

    Args:
        bundle: folder of the bundle.
        dataset_dir: folder of the dataset.
        datalist_file: its datalist.
        split: the part that scores are of.
        settings: keys to set in the bundle's configuration for all trainings.
        output: folder of the comparison.
    """

    bundle: Path
    dataset_dir: Path
    datalist_file: Path
    split: str
    settings: Mapping[str, Any]
    output: Path

    def config(self, name: str) -> Path:
        """Return a configuration of the bundle.

        Raises:
            UserError: if the bundle has none of that name.
        """
        path = self.bundle / "configs" / name
        if not path.is_file():
            raise UserError(f"--bundle {self.bundle}: has no configs/{name}, which this command needs.")
        return path

    def training_files(self, variant: Variant) -> list[Path]:
        """Return the configurations that train a variant, but for its overrides."""
        presets = [self.config(f"presets/{variant.preset}.json")] if variant.preset else []
        return [self.config("train.json"), *presets]

    @cached_property
    def training_config(self) -> dict[str, Any]:
        """The bundle's ``train.json``."""
        try:
            return ConfigParser.load_config_files([self.config("train.json")])
        except ValueError as error:
            raise UserError(f"{self.config('train.json')}: cannot be read ({error}).") from error

    @cached_property
    def example_cases(self) -> list[str]:
        """Names of six cases, spread evenly over the split; chosen before anything is trained."""
        names = [name_of_files(ensure_tuple(entry["image"])) for entry in self.entries]
        return [names[i] for i in np.unique(np.linspace(0, len(names) - 1, 6).round().astype(int))]

    @cached_property
    def entries(self) -> Sequence[Mapping[str, Any]]:
        """The cases that scores are of."""
        return load_datalist(self.datalist_file, self.dataset_dir, self.split)

    @cached_property
    def groups(self) -> dict[str, str]:
        """The group of every case of the split that the datalist knows one of, such as its patient."""
        entries = [entry for entry in self.entries if "group" in entry]
        return {name_of_files(ensure_tuple(entry["image"])): str(entry["group"]) for entry in entries}

    def check(self, trusted: bool = False) -> None:
        """Refuse what can be seen to be wrong before anything is built.

        Args:
            trusted: whether the bundle's configuration may hold any code. Defaults to False.

        Raises:
            UserError: if the bundle would run foreign code, a setting names no key of it, or bundle, datalist,
                dataset or split are not there, or cases of the split have the same name.
        """
        if not trusted:
            refuse_foreign_code(self.bundle)
        check_keys(self.settings, self.training_config, f"--set: {self.config('train.json')}")
        self.config("evaluate.json")
        if not self.datalist_file.is_file():
            raise UserError(
                f"--datalist {self.datalist_file}: no such file; write it with python -m data_prep.<dataset>."
            )
        names = Counter(name_of_files(ensure_tuple(entry["image"])) for entry in self.entries)
        if twice := [name for name, count in names.items() if count > 1]:
            raise UserError(
                f"--datalist {self.datalist_file}: {join_some(twice)}: several images of that name in the "
                f"{self.split} split, whose scores could not be told apart; rename them."
            )

    def identity(self, variant: Variant | None = None) -> dict[str, Any]:
        """Return what decides results: settings, split, and the contents of all files, a variant's preset too."""
        files = self.training_files(variant) if variant else [self.config("train.json")]
        files = [*files, self.config("evaluate.json"), self.datalist_file]
        names = [*(path.name for path in files[:-1]), "datalist"]
        hashes = {f"{name} (SHA-256)": file_sha256(path)[:16] for name, path in zip(names, files, strict=True)}
        return {"package": __version__, "split": self.split, **hashes, **self.settings}
