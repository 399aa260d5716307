"""Which code of a configuration is what a segmentation needs: components by name, and plain expressions of known calls.

What is known is listed; all else is not, whatever it does.
"""

from __future__ import annotations

import ast
import builtins
import functools
import importlib
import re
import types
from collections.abc import Mapping, Set
from typing import Any

from monai.bundle.config_item import ComponentLocator

__all__ = ["GLOBALS", "REFERENCE", "concern_about_expression", "concern_about_target"]

REFERENCE = "_reference"
"""The name that stands for ``@id`` in the expressions given here."""

GLOBALS = {"monai": "monai", "np": "numpy", "numpy": "numpy", "torch": "torch"}
"""What MONAI lets every expression name."""

_MODULES = ("glob", "math", "monai", "monai.handlers", "monai.utils", "numpy", "os", "os.path", "torch")
"""What may be imported whole; only the names below may be used of it."""

_NAMES = (
    *("glob.glob", "math.ceil", "math.floor", "math.inf", "math.pi", "math.sqrt", "numpy.inf", "numpy.pi"),
    *(f"numpy.{name}" for name in ("array", "float32", "float64", "int16", "int32", "int64", "uint8")),
    *("monai.handlers.from_engine", "monai.utils.ensure_tuple", "monai.utils.ensure_tuple_rep"),
    *("monai.utils.first", "monai.utils.set_determinism", "os.cpu_count", "os.environ", "os.sep", "os.path.basename"),
    *("os.path.dirname", "os.path.exists", "os.path.isdir", "os.path.isfile", "os.path.join", "sys.stderr"),
    *("sys.stdout", "torch.cuda.device_count", "torch.cuda.is_available", "torch.cuda.set_device", "torch.device"),
    *(f"torch.distributed.{name}" for name in ("destroy_process_group", "get_rank", "get_world_size")),
    *("torch.tensor", "torch.channels_last", "torch.channels_last_3d"),
    *(f"torch.{name}" for name in ("bfloat16", "bool", "float", "float16", "float32", "float64", "int", "int16")),
    *(f"torch.{name}" for name in ("int32", "int64", "long", "uint8")),
    *("pu_unet_monai.config_keys.check_command_line", "pu_unet_monai.errors.one_line_errors"),
    *("pu_unet_monai.runtime.processes.join_processes", "pu_unet_monai.runtime.trained_with.trained_with"),
)
"""What an expression may name and call of modules."""

_BUILTINS = (
    *("abs", "all", "any", "bool", "dict", "enumerate", "float", "int", "len", "list", "max", "min", "range"),
    *("reversed", "round", "set", "sorted", "str", "sum", "tuple", "zip"),
)
_ATTRIBUTES = (
    *("cuda", "device", "dtype", "endswith", "epoch", "eval", "float", "get", "half", "items", "iteration", "keys"),
    *("lower", "max_epochs", "named_parameters", "ndim", "parameters", "replace", "run", "shape", "split"),
    *("startswith", "state", "strip", "to", "train", "type", "upper", "values"),
)
"""What an expression may name and call of values."""

_SYNTAX = (
    *(ast.Module, ast.Expr, ast.Constant, ast.Name, ast.Load, ast.Store, ast.List, ast.Tuple, ast.Dict, ast.Set),
    *(ast.BinOp, ast.operator, ast.UnaryOp, ast.unaryop, ast.BoolOp, ast.boolop, ast.Compare, ast.cmpop, ast.IfExp),
    *(ast.Subscript, ast.Slice, ast.Call, ast.keyword, ast.Starred, ast.Attribute, ast.ListComp, ast.SetComp),
    *(ast.DictComp, ast.GeneratorExp, ast.comprehension, ast.Lambda, ast.arguments, ast.arg, ast.JoinedStr),
    *(ast.FormattedValue, ast.Import, ast.ImportFrom, ast.alias),
)

_CLASSES_OF = (
    *("ignite.metrics", "torch.nn", "torch.optim"),
    *(f"monai.{name}" for name in ("engines", "inferers", "losses", "metrics", "networks", "optimizers", "transforms")),
)
"""Modules whose classes may be targets."""

_NO_TARGETS = (
    *(f"monai.networks.{name}" for name in ("nets.hovernet", "trt_compiler", "utils")),
    *("monai.losses.perceptual", "monai.transforms.io"),
)
"""Of these again what reads, writes or compiles: MONAI's readers unpickle NumPy's files, and its perceptual loss runs
the Python of a folder that it is told."""

_DATA = ("CacheDataset", "DataLoader", "Dataset", "DistributedSampler", "SmartCacheDataset", "ThreadDataLoader")
_HANDLERS = (
    *("CheckpointLoader", "CheckpointSaver", "ConfusionMatrix", "EarlyStopHandler", "HausdorffDistance"),
    *("LrScheduleHandler", "MeanDice", "MeanIoUHandler", "MetricsSaver", "PostProcessing", "ROCAUC", "StatsHandler"),
    *("SurfaceDistance", "TensorBoardImageHandler", "TensorBoardStatsHandler", "ValidationHandler", "from_engine"),
)
_TARGETS: tuple[str, ...] = (
    *("ignite.handlers.EarlyStopping", "ignite.handlers.ProgressBar", "ignite.handlers.TerminateOnNan"),
    *("ignite.handlers.Timer", "logging.StreamHandler"),
    *(f"monai.data.{name}" for name in _DATA),
    *(f"monai.handlers.{name}" for name in _HANDLERS),
)
"""Other targets, by the names that their packages give them."""

_OWN = ("data", "handlers", "inferers", "losses", "metrics", "networks", "networks.nets", "transforms")
"""Our packages, whose public names may be targets."""


_DOTTED = re.compile(r"[A-Za-z]\w*(\.[A-Za-z]\w*)*")


def concern_about_target(name: str) -> str | None:
    """Say why what ``_target_`` names is more than a segmentation needs; None if it is not."""
    if not _DOTTED.fullmatch(name):  # a private name, or an expression that could make any
        return f"{name} is no plain name"
    located = _locator().get_component_module_name(name)
    if located is not None:  # one of MONAI's, by its bare name
        name = f"{located if isinstance(located, str) else located[0]}.{name}"
    return None if _is_known_target(name) else f"{name} is not known"


def concern_about_expression(tree: ast.AST, names: Mapping[str, Set[str]]) -> str | None:
    """Say why an expression, or an import, is more than a segmentation needs; None if it is not.

    Args:
        tree: its syntax, with :data:`REFERENCE` for references.
        names: what configurations import, by the names that they give it: all that a name may mean.
    """
    nodes = list(ast.walk(tree))
    if odd := [node for node in nodes if not isinstance(node, _SYNTAX)]:
        return f"{type(odd[0]).__name__} is not for configurations"
    if len(getattr(tree, "body", ())) != 1:
        return "is not one expression"
    bound = {node.arg for node in nodes if isinstance(node, ast.arg)}
    bound |= {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    if hidden := bound & (names.keys() | set(dir(builtins)) | {REFERENCE}):
        return f"{', '.join(sorted(hidden))} is given another meaning"
    return _concern(tree, names, bound)


def _concern(node: ast.AST, names: Mapping[str, Set[str]], bound: Set[str]) -> str | None:
    """Look at a node and those below it; return the first concern."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        module = f"{node.module or ''}." if isinstance(node, ast.ImportFrom) else ""
        unknown = [f"{module}{alias.name}" for alias in node.names if f"{module}{alias.name}" not in _MODULES + _NAMES]
        return f"{unknown[0]} is not for configurations" if unknown else None
    chain = _chain(node)
    if chain and chain[0] in names:
        meanings = [".".join((meaning, *chain[1:])) for meaning in sorted(names[chain[0]])]
        return next((concern for name in meanings if (concern := _concern_about_name(name))), None)
    if isinstance(node, ast.Name) and node.id not in bound and node.id not in (*_BUILTINS, REFERENCE):
        return f"{node.id} is not {'for configurations' if hasattr(builtins, node.id) else 'known'}"
    if isinstance(node, ast.Attribute) and node.attr not in _ATTRIBUTES:
        return f"{node.attr} is {'private' if node.attr.startswith('_') else 'not known'}"
    if isinstance(node, ast.Constant) and REFERENCE in str(node.value):
        return "holds a reference in a text, which MONAI reads otherwise"
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in bound:
        return f"{node.func.id} may be anything"
    children = ast.iter_child_nodes(node)
    return next((concern for child in children if (concern := _concern(child, names, bound))), None)


def _concern_about_name(name: str) -> str | None:
    """Say why a dotted name, of which the end may be an attribute of a value, is not known."""
    for known in _NAMES:
        rest = name.removeprefix(known)
        if rest == "" or (name.startswith(f"{known}.") and set(rest[1:].split(".")) <= set(_ATTRIBUTES)):
            return None
    return None if _is_known_target(name) else f"{name} is not known"


@functools.lru_cache(maxsize=1)
def _locator() -> ComponentLocator:
    return ComponentLocator()


@functools.lru_cache(maxsize=4096)
def _is_known_target(name: str) -> bool:
    package, _, last = name.rpartition(".")
    parts = name.split(".")
    if parts[0] not in ("ignite", "logging", "monai", "pu_unet_monai", "torch") or any(p[:1] == "_" for p in parts):
        return False
    if name in _TARGETS or _is_own(package, last):
        return True
    found = _find(name)
    if found is not None and any(found is target for target in _targets()):
        return True
    place = f"{found.__module__}.{found.__qualname__}" if isinstance(found, type) else ""
    return _within(place, _CLASSES_OF) and not _within(place, _NO_TARGETS)


@functools.lru_cache(maxsize=1)
def _targets() -> list[Any]:
    """Return what is listed by name, for whoever names the module that it is defined in."""
    return [_find(target) for target in _TARGETS]


def _is_own(package: str, name: str) -> bool:
    """Tell whether one of our packages offers a name."""
    if package not in [f"pu_unet_monai.{part}" for part in _OWN]:
        return False
    return name in importlib.import_module(package).__all__


def _find(name: str) -> Any:
    """Return what a dotted name in a known package stands for, None if there is nothing."""
    root, *parts = name.split(".")
    found: Any = importlib.import_module(root)
    for index, part in enumerate(parts):
        if isinstance(found, types.ModuleType) and part not in vars(found):
            try:
                found = importlib.import_module(".".join((root, *parts[: index + 1])))
            except (Exception, SystemExit):  # what cannot be imported here is not known
                return None
        else:
            found = getattr(found, part, None)
    return found


def _within(name: str, modules: tuple[str, ...]) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def _chain(node: ast.AST) -> list[str]:
    """Return the names of ``a.b.c``, nothing if it begins with another expression."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return [node.id, *reversed(parts)] if isinstance(node, ast.Name) else []
