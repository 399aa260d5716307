"""Which expressions a segmentation needs: plain ones, of known names, calls and attributes.

What is known is listed; all else is not, whatever it does.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Mapping, Set

from pu_unet_monai.inspection.known_targets import concern_about_argument, is_known_target

__all__ = ["GLOBALS", "REFERENCE", "concern_about_expression"]

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
    *("lower", "max_epochs", "named_parameters", "ndim", "parameters", "run", "shape", "split", "startswith"),
    *("state", "strip", "to", "train", "type", "upper", "values"),
)
"""What an expression may name and call of values: nothing that would do harm if the value were a module."""

_SYNTAX = (
    *(ast.Module, ast.Expr, ast.Constant, ast.Name, ast.Load, ast.Store, ast.List, ast.Tuple, ast.Dict, ast.Set),
    *(ast.BinOp, ast.operator, ast.UnaryOp, ast.unaryop, ast.BoolOp, ast.boolop, ast.Compare, ast.cmpop, ast.IfExp),
    *(ast.Subscript, ast.Slice, ast.Call, ast.keyword, ast.Starred, ast.Attribute, ast.ListComp, ast.SetComp),
    *(ast.DictComp, ast.GeneratorExp, ast.comprehension, ast.Lambda, ast.arguments, ast.arg, ast.JoinedStr),
    *(ast.FormattedValue, ast.Import, ast.ImportFrom, ast.alias),
)
_MOST_POSITIONAL = 3
"""How many arguments a component may be given without their names: later ones could be what it must not have."""


def concern_about_expression(tree: ast.Module, names: Mapping[str, Set[str]]) -> str | None:
    """Say why an expression, or an import, is more than a segmentation needs; None if it is not.

    Args:
        tree: its syntax, with :data:`REFERENCE` for references.
        names: what configurations import, by the names that they give it: all that a name may mean.
    """
    nodes = list(ast.walk(tree))
    if odd := [node for node in nodes if not isinstance(node, _SYNTAX)]:
        return f"{type(odd[0]).__name__} is not for configurations"
    if len(tree.body) != 1:
        return "is not one expression"
    bound = {node.arg for node in nodes if isinstance(node, ast.arg)}
    bound |= {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    if private := [name for name in bound if name.startswith("_")]:
        return f"{', '.join(sorted(private))} is private"
    if hidden := bound & (names.keys() | set(dir(builtins))):
        return f"{', '.join(sorted(hidden))} is given another meaning"
    return _concern(tree, names, bound)


def _concern(node: ast.AST, names: Mapping[str, Set[str]], bound: Set[str]) -> str | None:
    """Look at a node and those below it; return the first concern."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        return _concern_about_import(node)
    if isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store):
        return "sets what is not its own"
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
    if isinstance(node, ast.Call) and (concern := _concern_about_call(node, names, bound)):
        return concern
    children = ast.iter_child_nodes(node)
    return next((concern for child in children if (concern := _concern(child, names, bound))), None)


def _concern_about_import(node: ast.Import | ast.ImportFrom) -> str | None:
    if isinstance(node, ast.ImportFrom) and (node.level or not node.module):
        return "imports from where it stands"
    module = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
    unknown = [f"{module}{alias.name}" for alias in node.names if f"{module}{alias.name}" not in _MODULES + _NAMES]
    return f"{unknown[0]} is not for configurations" if unknown else None


def _concern_about_call(node: ast.Call, names: Mapping[str, Set[str]], bound: Set[str]) -> str | None:
    """Look at what is called, and with how many arguments; what the arguments are is looked at elsewhere."""
    function = node.func
    if not isinstance(function, ast.Name | ast.Attribute):
        return "calls what an expression gives"
    if isinstance(function, ast.Name) and function.id in bound:
        return f"{function.id} may be anything"
    for keyword in node.keywords:
        if keyword.arg is None:
            return "arguments by ** may be anything"
        value = keyword.value.value if isinstance(keyword.value, ast.Constant) else keyword.value
        if concern := concern_about_argument(keyword.arg, value):
            return concern
    if _is_plain_function(function, names):
        return None
    many = len(node.args) > _MOST_POSITIONAL or any(isinstance(argument, ast.Starred) for argument in node.args)
    return f"more than {_MOST_POSITIONAL} arguments have no names" if many else None


def _is_plain_function(function: ast.expr, names: Mapping[str, Set[str]]) -> bool:
    """Tell whether what is called is one of the listed functions, and no component."""
    chain = _chain(function)
    if chain and chain[0] in names:
        return all(".".join((meaning, *chain[1:])) in _NAMES for meaning in names[chain[0]])
    return isinstance(function, ast.Name) and function.id in _BUILTINS


def _concern_about_name(name: str) -> str | None:
    """Say why a dotted name, of which the end may be an attribute of a value, is not known."""
    for known in _NAMES:
        rest = name.removeprefix(known)
        if rest == "" or (name.startswith(f"{known}.") and set(rest[1:].split(".")) <= set(_ATTRIBUTES)):
            return None
    return None if is_known_target(name) else f"{name} is not known"


def _chain(node: ast.AST) -> list[str]:
    """Return the names of ``a.b.c``, nothing if it begins with another expression."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return [node.id, *reversed(parts)] if isinstance(node, ast.Name) else []
