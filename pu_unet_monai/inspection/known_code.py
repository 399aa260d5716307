"""Which code of a configuration is what a segmentation needs: components of known packages, plain expressions."""

from __future__ import annotations

import ast
import builtins
import functools
import importlib
import types
from collections.abc import Mapping
from typing import Any

from monai.bundle.config_item import ComponentLocator

__all__ = ["concern_about"]

_ROOTS = ("glob", "ignite", "logging", "math", "monai", "numpy", "os", "pu_unet_monai", "torch")
"""Packages that may be imported; what of them may be used is narrower, see ``_KNOWN``."""

_KNOWN = (
    *("ignite.contrib.handlers", "ignite.distributed", "ignite.engine", "ignite.handlers", "ignite.metrics"),
    *("logging", "math", "numpy", "os.path"),
    *(f"monai.{name}" for name in ("engines", "handlers", "inferers", "losses", "metrics", "networks", "optimizers")),
    *("monai.data", "monai.transforms", "monai.utils", "monai.visualize"),
    *("pu_unet_monai", "torch"),
)
"""Modules whose classes and functions are known."""

_FOREIGN = (
    *("logging.config", "logging.handlers"),
    *("monai.networks.nets.hovernet", "monai.utils.dist", "monai.utils.misc.run_cmd", "monai.utils.misc.save_obj"),
    *("monai.utils.jupyter_utils", "monai.utils.module", "monai.utils.nvtx", "monai.utils.profiling"),
    *("numpy.f2py", "numpy.fromfile", "numpy.load", "numpy.memmap", "numpy.save", "numpy.savez", "numpy.testing"),
    *("pu_unet_monai.__main__", "pu_unet_monai.commands", "pu_unet_monai.files"),
    *("torch.classes", "torch.from_file", "torch.hub", "torch.jit.load", "torch.load", "torch.ops", "torch.package"),
    *("torch.save", "torch.serialization", "torch.utils.cpp_extension", "torch.utils.model_zoo"),
)
"""Of these again what loads, downloads, compiles or starts things."""

_VALUES = {"glob.glob", "os.cpu_count", "os.environ", "os.sep", "sys.stderr", "sys.stdout"}
_BUILTINS = (
    *("abs", "all", "any", "bool", "dict", "enumerate", "float", "int", "isinstance", "len", "list", "map", "max"),
    *("min", "range", "reversed", "round", "set", "slice", "sorted", "str", "sum", "tuple", "zip"),
)


def concern_about(code: str | ast.AST, names: Mapping[str, str] | None = None) -> str | None:
    """Say why code is more than a segmentation needs; None if it is not.

    Args:
        code: the name of a target as ``_target_`` has it, or the syntax tree of an expression.
        names: what the configuration imports, by the names that it gives it.
    """
    if isinstance(code, str):
        return _concern_about_target(code)
    checker = _Checker(names or {})
    checker.visit(code)
    return checker.concern


def _concern_about_target(name: str) -> str | None:
    modules = _locator().get_component_module_name(name)
    if modules is not None:  # one of MONAI's, by its bare name
        first = modules if isinstance(modules, str) else modules[0]
        name = f"{first}.{name}"
    return _concern_about_name(name)


@functools.lru_cache(maxsize=1)
def _locator() -> ComponentLocator:
    return ComponentLocator()


@functools.lru_cache(maxsize=4096)
def _concern_about_name(name: str) -> str | None:
    """Say why a dotted name is not known."""
    if name in _VALUES:
        return None
    if name.partition(".")[0] not in _ROOTS or any(part.startswith("_") for part in name.split(".")):
        return f"{name} is not known"
    found = _find(name)
    if found is None:
        return f"{name} is not known"
    place = name if isinstance(found, int | float | str) else _place(found)
    if isinstance(found, types.ModuleType) or _within(name, _FOREIGN) or _within(place, _FOREIGN):
        return f"{name} is not for configurations"
    return None if _within(place, _KNOWN) else f"{name} is not known"


def _find(name: str) -> Any:
    """Return what a dotted name in one of the known packages stands for, None if there is nothing."""
    root, *parts = name.split(".")
    found: Any = importlib.import_module(root)
    for index, part in enumerate(parts):
        if isinstance(found, types.ModuleType) and not hasattr(found, part):
            try:
                found = importlib.import_module(".".join((root, *parts[: index + 1])))
            except ImportError:
                return None
        else:
            found = getattr(found, part, None)
    return found


def _place(found: Any) -> str:
    """Return where a class or function is defined, of other values where their class is."""
    kind = found if callable(found) and hasattr(found, "__qualname__") else type(found)
    module = getattr(kind, "__module__", None) or ""
    if module in ("posixpath", "ntpath", "genericpath"):
        module = "os.path"
    return f"{module}.{kind.__qualname__}"


def _within(name: str, modules: tuple[str, ...]) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)


class _Checker(ast.NodeVisitor):
    """Finds the first name in an expression that is not known."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self.names = names
        self.bound: set[str] = set()
        self.concern: str | None = None

    def visit(self, node: ast.AST) -> None:
        if isinstance(node, ast.Module | ast.Expression):
            self.bound = {part.arg for part in ast.walk(node) if isinstance(part, ast.arg)}
            stored = (part for part in ast.walk(node) if isinstance(part, ast.Name))
            self.bound |= {part.id for part in stored if isinstance(part.ctx, ast.Store)}
            if hidden := self.bound & (self.names.keys() | set(_BUILTINS)):
                self.concern = f"{', '.join(sorted(hidden))} is given another meaning"
        if self.concern is None:
            super().visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._check_import(alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            self._check_import(f"{node.module or ''}.{alias.name}")

    def visit_Attribute(self, node: ast.Attribute) -> None:
        chain = _chain(node)
        if node.attr.startswith("_"):
            self.concern = f"{node.attr} is private"
        elif chain and chain[0] in self.names:
            self.concern = _concern_about_name(".".join((self.names[chain[0]], *chain[1:])))
        else:
            self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        if node.id in self.bound or node.id == "_reference":
            return
        if node.id in self.names:
            self.concern = _concern_about_name(self.names[node.id])
        elif node.id not in _BUILTINS:
            known = "is not for configurations" if hasattr(builtins, node.id) else "is not known"
            self.concern = f"{node.id} {known}"

    def _check_import(self, name: str) -> None:
        """Let modules be imported, of which what is used is judged later, and known classes and functions."""
        is_module = name.partition(".")[0] in _ROOTS and isinstance(_find(name), types.ModuleType)
        if not is_module or _within(name, _FOREIGN):
            self.concern = _concern_about_name(name)


def _chain(node: ast.expr) -> list[str]:
    """Return the names of ``a.b.c``, nothing if it begins with another expression."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return [node.id, *reversed(parts)] if isinstance(node, ast.Name) else []
