"""Words as Kubernetes and registries take them.

They are looked at here because nobody looks at them later: the pipeline server takes in what it is given, and a pod
that cannot be made is found out when its step is due.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from trainer.errors import has_credentials

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_WORD = r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?"
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)(m|[EPTGM]|[EPTGMK]i)?")
_UNITS = {"m": 1e-3, **{f"{unit}i": 1024.0**power for power, unit in enumerate("KMGTPE", 1)}} | {
    unit: 1000.0**power for power, unit in enumerate("MGTPE", 2)
}


def _written(pattern: str, longest: int, words: str) -> AfterValidator:
    """Refuses what the pattern does not match from end to end."""
    known = re.compile(pattern)

    def checked(value: str) -> str:
        if len(value) > longest or not known.fullmatch(value):
            raise ValueError(f"received {value!r}. {words}")
        return value

    return AfterValidator(checked)


def _more_than_nothing(value: str) -> str:
    if amount(value) == 0:
        raise ValueError(f"received {value!r}. Leave it out where nothing is asked for.")
    return value


def _address(words: str) -> Callable[[str], str]:
    def checked(value: str) -> str:
        if has_credentials(value):
            raise ValueError(f"received {value!r}. Nothing secret belongs into this file: leave user and password out.")
        try:
            parts = urlsplit(value)
            whole = parts.scheme and (parts.netloc or parts.path.strip("/")) and parts.port != 0
        except ValueError:
            whole = False
        if not whole or re.search(r"\s", value) or "://" not in value:
            raise ValueError(f"received {value!r}. {words}")
        return value

    return checked


def _web(value: str) -> str:
    if not value.startswith(("http://", "https://")) or {"?", "#"} & set(value):
        raise ValueError(f"received {value!r}. Write it as https://host/path, without what a browser has after # or ?.")
    return value


Label = Annotated[str, _written(_LABEL, 63, "Write up to 63 small letters, digits and dashes between them.")]
"""A name that names a volume or a namespace too (RFC 1123)."""
Name = Annotated[
    str, _written(rf"{_LABEL}(\.{_LABEL})*", 253, "Write small letters, digits, and dashes or dots between them.")
]
"""Name of an object of the cluster."""
LabelKey = Annotated[
    str,
    _written(
        rf"({_LABEL}(\.{_LABEL})*/)?(?=.{{1,63}}$){_WORD}",
        317,
        "Write up to 63 letters, digits, and -, _ or . between them; example.com/ may stand before.",
    ),
]
LabelValue = Annotated[str, _written(rf"({_WORD})?", 63, "Write up to 63 letters, digits, and -, _ or . between them.")]
Variable = Annotated[
    str, _written(r"[A-Za-z_][A-Za-z0-9_]*", 253, "Name a variable in letters, digits and _, no digit first.")
]
Key = Annotated[str, _written(r"[-._A-Za-z0-9]+", 253, "A secret's key has letters, digits, -, _ and . in it.")]
Resource = Annotated[
    str, _written(rf"{_LABEL}(\.{_LABEL})*/{_WORD}", 317, "Write it as nodes list it: nvidia.com/gpu.")
]
"""Name of an extended resource."""
Folder = Annotated[
    str, _written(r"/[^\s:]*[^\s:/]/?", 4096, "Write a whole path of a folder, as in /var/secrets/smtp.")
]
"""Where something is mounted; never the root."""
Inner = Annotated[str, _written(r"(?!.*\.\.)([^\s/:][^\s:]*)?", 4096, "Write a path within the volume.")]

Cpu = Annotated[
    str, _written(r"\d+(\.\d+)?|\d+m", 20, "Write it as 4, 0.5 or 500m."), AfterValidator(_more_than_nothing)
]
Memory = Annotated[
    str,
    _written(r"\d+(\.\d+)?([EPTGM]|[EPTGMK]i)?", 20, "Write it as 16Gi or 500M."),
    AfterValidator(_more_than_nothing),
]

Hours = Annotated[float, Field(ge=0.01, le=500_000.0)]
Minutes = Annotated[float, Field(ge=0.1, le=30_000_000.0)]

Address = Annotated[str, AfterValidator(_address("Write a whole address, as in gs://bucket/folder."))]
Web = Annotated[str, AfterValidator(_address("Write it as https://host/path.")), AfterValidator(_web)]

_HOST = r"[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?(:\d+)?"
_PART = r"[a-z0-9]+([._-]+[a-z0-9]+)*"
Registry = Annotated[
    str, _written(rf"{_HOST}(/{_PART})*", 255, "Write it as registry.example.com/team, without https:// before it.")
]
Image = Annotated[
    str,
    _written(
        rf"({_HOST}/)?{_PART}(/{_PART})*(:\w[\w.-]{{0,127}})?(@sha256:[0-9a-f]{{64}})?",
        500,
        "Write it as registry.example.com/team/name@sha256:…, without https:// before it.",
    ),
]


def amount(quantity: str) -> float:
    """Processors, or bytes. Errors: ValueError (no quantity)."""
    found = _QUANTITY.fullmatch(quantity)
    if found is None:
        raise ValueError(f"received {quantity!r}, which is no quantity.")
    return float(found[1]) * _UNITS.get(found[2], 1.0)
