"""JSON files of which one thing was changed."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st

__all__ = ["any_json", "mutated"]

_SCALARS = st.one_of(
    *(st.none(), st.booleans(), st.integers(-3, 300), st.floats(allow_nan=True, allow_infinity=True)),
    st.sampled_from(
        ["", "x", "@x", "@", "$", "$x", "%", "%x", "..", "../x", "/", "\0", "ä", "cuda:7", "_target_", "None"]
        + ["@imports#0", "$@imports#0.mkdir('x')", "%imports#0", "$open('x', 'w')", "$[open('x', 'w') for x in [1]]"]
    ),
)


def any_json() -> st.SearchStrategy[Any]:
    """Return small JSON of any form."""
    return st.recursive(
        _SCALARS,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=6,
    )


@st.composite
def mutated(draw: st.DrawFn, content: Any) -> Any:
    """Return JSON with one value, somewhere in it, replaced by anything, dropped or said twice."""
    content = copy.deepcopy(content)
    place, key = None, None
    inner = content
    while isinstance(inner, dict | list) and inner and (place is None or draw(st.integers(0, 2))):
        key = draw(st.sampled_from(sorted(inner) if isinstance(inner, dict) else range(len(inner))))
        place, inner = inner, inner[key]
    if place is None:
        return draw(any_json())
    what = draw(st.sampled_from(["replace", "replace", "drop", "repeat"]))
    if what == "drop":
        del place[key]
    elif what == "repeat" and isinstance(place, list):
        place.append(copy.deepcopy(inner))
    else:
        place[key] = draw(any_json())
    return content
