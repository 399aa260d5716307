"""What of a bundle's configuration MONAI would run: expressions, imports and targets."""

from __future__ import annotations

import ast
import configparser
import re
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from pu_unet_monai.errors import UserError
from pu_unet_monai.inspection.known_expressions import GLOBALS, REFERENCE, concern_about_expression
from pu_unet_monai.inspection.known_targets import concern_about_argument, concern_about_target
from pu_unet_monai.printable import printable

__all__ = ["Code", "find_code", "read_configs", "refuse_foreign_code"]

_REFERENCE = re.compile(r"@\w*(?:::\w*)*")
_SEPARATOR = re.compile("#|::")
_RELATIVE = re.compile("[@%](#|::)")
_TARGET = "_target_ "
_COPY = re.compile(r"%(?!imports)[A-Za-z]\w*((#|::)\w+)*")
_IMPORTS = re.compile(r"[+~]?imports((#|::)\d+|\[\d+\])?")
_TO_IMPORTS = re.compile(r"@\s*imports\b")
_SHOWN = 3
_LARGEST = 100_000


@dataclass(frozen=True)
class Code:
    """A piece of configuration that is run.

    Args:
        file: the configuration.
        key: where it stands, such as ``train#trainer``.
        text: the expression with its ``$``, ``_target_ NAME``, an option of one such as ``_mode_ debug``, ``@imports``,
            or ``%ID``, whose content is put there.
        concern: why it is more than a segmentation needs, None if it is not.
    """

    file: Path
    key: str
    text: str
    concern: str | None

    def __str__(self) -> str:
        text = f"{self.file.name} {self.key}: {self.text}" + (f" ({self.concern})" if self.concern else "")
        return printable(text)


def read_configs(bundle: Path) -> tuple[dict[Path, dict[str, Any]], list[str]]:
    """Read the configurations of a bundle as they are written, presets and that of the log too; nothing is evaluated.

    Returns:
        The contents by file, and what is wrong with those that cannot be read or hold no object.
    """
    contents, problems = {}, []
    for path in sorted((bundle / "configs").rglob("*")):
        if path.suffix.lower() not in (".json", ".yaml", ".yml", ".conf"):
            continue
        if not path.is_file():
            problems.append(f"{path}: is no ordinary file.")
            continue
        try:
            content = _read_logging(path) if path.suffix == ".conf" else ConfigParser.load_config_file(path)
            _check_size(content)
        except Exception as error:  # JSON's and YAML's own, and those of encodings
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            problems.append(f"{path}: cannot be read ({reason}); expected JSON or YAML.")
            continue
        if isinstance(content, dict):
            contents[path] = content
        else:
            problems.append(f"{path}: holds a {type(content).__name__}, expected an object with keys.")
    return contents, problems


def _check_size(content: Any) -> None:
    """Refuse what holds itself, or unfolds to more than a configuration holds: YAML may repeat parts by their names."""
    left, seen = [content], 0
    while left:
        item = left.pop()
        left += item.values() if isinstance(item, dict) else item if isinstance(item, list) else []
        seen += 1
        if seen > _LARGEST:
            raise ValueError(f"it holds itself, or more than {_LARGEST} values")


def _read_logging(path: Path) -> dict[str, Any]:
    """Return what ``logging.config.fileConfig`` evaluates of a file, in the form of MONAI's configurations."""
    parser = configparser.ConfigParser()  # as fileConfig does, with its interpolation
    parser.read_string(path.read_text(encoding="utf-8"), str(path))
    content: dict[str, Any] = {}
    for section in parser.sections():
        values = parser[section]
        evaluated = {key: f"${values[key]}" for key in ("args", "kwargs") if values.get(key)}
        if "class" in values:
            evaluated["_target_"] = f"logging.{values['class'].removeprefix('logging.')}"
        if evaluated:
            content[section] = evaluated
    return content


def find_code(configs: Mapping[Path, Mapping[str, Any]]) -> list[Code]:
    """Return all that MONAI would run of configurations, none of it run.

    Args:
        configs: the contents by file of those that are used together: names that one imports may be used by another.
    """
    found = [(file, key, text) for file, content in configs.items() for key, text in _texts(content)]
    meanings = _meanings([text for _, _, text in found])
    code = [Code(file, key, text, _concern(key, text, meanings)) for file, key, text in found]
    return code + [option for file, content in configs.items() for option in _options(file, content)]


def refuse_foreign_code(bundle: Path) -> None:
    """Refuse a bundle whose configurations would run more than a segmentation needs.

    What is known is listed in :mod:`pu_unet_monai.inspection.known_targets` and
    :mod:`pu_unet_monai.inspection.known_expressions`. Those are lists, and no sandbox.

    Args:
        bundle: folder of the bundle.

    Raises:
        UserError: naming the configurations that cannot be read, or the first pieces that are not known.
    """
    configs, problems = read_configs(bundle)
    if problems:
        raise UserError(" ".join(problems))
    foreign = [code for code in find_code(configs) if code.concern]
    if not foreign:
        return
    others = f" and {len(foreign) - _SHOWN} more" if len(foreign) > _SHOWN else ""
    raise UserError(
        f"--bundle {bundle}: would run code that no segmentation needs: {'; '.join(map(str, foreign[:_SHOWN]))}"
        f"{others}. Look at it with python -m pu_unet_monai inspect {bundle}; if you trust its author, give --trust."
    )


def _entries(content: Any, key: str = "") -> Iterator[tuple[str, str, str, Any]]:
    """Yield of all that stands in a configuration where it is, where what holds it is, its own key, and its value."""
    if isinstance(content, dict):
        inner = [(f"{key}#{name}" if key else str(name), str(name), item) for name, item in content.items()]
    elif isinstance(content, list):
        inner = [(f"{key}[{index}]", "", item) for index, item in enumerate(content)]
    else:
        return
    for place, name, item in inner:
        yield place, key, name, item
        yield from _entries(item, place)


def _texts(content: Any) -> Iterator[tuple[str, str]]:
    """Yield the key and text of all expressions, targets and copies, and of references to what is imported."""
    for key, holder, name, item in _entries(content):
        if _last(name) == "_target_":
            yield holder, f"{_TARGET}{item}"
        elif isinstance(item, str) and (item.startswith(("$", "%")) or _TO_IMPORTS.match(item)):
            yield key, item


def _options(file: Path, content: Any) -> Iterator[Code]:
    """Yield the options that a component must not be given."""
    for _, holder, name, item in _entries(content):
        if concern := concern_about_argument(_last(name), item):
            yield Code(file, holder, f"{name} {item}", concern)


def _last(name: str) -> str:
    """Return what is set by a key, which may be a path (``a#b``) or say how to merge (``+b``)."""
    return _SEPARATOR.split(name)[-1].lstrip("+~")


def _meanings(texts: Iterable[str]) -> dict[str, set[str]]:
    """Return what names may mean: MONAI's own, and what imports among expressions give a name to."""
    meanings = {name: {meaning} for name, meaning in {**GLOBALS, "sys": "sys"}.items()}  # sys: of logging
    for text in texts:
        for node in ast.walk(_parse(text) or ast.Module([], [])):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    meanings.setdefault(alias.asname or alias.name.partition(".")[0], set()).add(_bound(alias))
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    meanings.setdefault(alias.asname or alias.name, set()).add(f"{node.module}.{alias.name}")
    return meanings


def _bound(alias: ast.alias) -> str:
    """Return the module that ``import a.b`` (``a``) or ``import a.b as c`` (``a.b``) gives a name to."""
    return alias.name if alias.asname else alias.name.partition(".")[0]


def _concern(key: str, text: str, meanings: Mapping[str, Set[str]]) -> str | None:
    if text.startswith(_TARGET):
        return concern_about_target(text.removeprefix(_TARGET))
    if text.startswith("%"):
        return None if _COPY.fullmatch(text) else "takes what another file, a relative id or an import holds"
    if _RELATIVE.search(text):
        return "refers to a relative id, for which MONAI puts any text of keys into the expression"
    if _TO_IMPORTS.search(text):
        return "refers to what is imported"
    tree = _parse(text)
    if tree is None:
        return "cannot be read"
    if isinstance(tree.body[0] if tree.body else None, ast.Import | ast.ImportFrom) and not _IMPORTS.fullmatch(key):
        return "imports outside of the key imports, from where it could be referred to"
    try:
        return concern_about_expression(tree, meanings)
    except RecursionError:
        return "is nested too deeply"


def _parse(text: str) -> ast.Module | None:
    """Return the syntax of an expression as MONAI reads it, with references as names; None if it has none."""
    plain = text.removeprefix("$").replace("#", "::")  # so MONAI writes separators, in comments too
    try:
        return ast.parse(_REFERENCE.sub(REFERENCE, plain))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
