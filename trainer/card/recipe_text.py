"""A recipe as the TOML an operator would write: the run record keeps it as canonical JSON, which nobody likes to read.

The text is a recipe file again: `trainer.config.load` reads from it the recipe it was made from.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def as_toml(recipe: Mapping[str, Any]) -> str:
    """TOML of a recipe's sections, tables within a section under a heading of their own, in the recipe's order.

    Values that are left out (None) are not written: TOML has no word for nothing, and it is what leaving out means.
    """
    return "\n".join(_table(name, section) for name, section in recipe.items() if isinstance(section, Mapping))


def _table(name: str, values: Mapping[str, Any]) -> str:
    lines = [f"[{name}]"]
    tables = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            tables.append(_table(f"{name}.{_key(key)}", value))
        elif value is not None:
            lines.append(f"{_key(key)} = {_value(value)}")
    return "\n".join(["\n".join(lines) + "\n", *tables])


def _key(key: str) -> str:
    # The names of classes are keys too, in `class_weights`, and may be any text.
    return key if _BARE.fullmatch(key) else _value(key)


def _value(value: Any) -> str:
    # JSON's strings, numbers, booleans and lists are TOML's too, but for one control character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
