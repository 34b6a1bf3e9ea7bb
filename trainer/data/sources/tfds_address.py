"""Which TFDS dataset an address means, and where it lies prepared. Reads names of folders; needs no TFDS."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol, Self, TypeVar

from trainer.errors import DataError, nearest

INFO = "dataset_info.json"
VERSION = re.compile(r"\d+\.\d+\.\d+")
ADDRESS = re.compile(r"(?P<name>\w+)(/(?P<config>[\w.+-]+))?(:(?P<version>\d+\.\d+\.\d+))?")


@dataclass(frozen=True, slots=True)
class Address:
    """`<name>[/<config>][:<version>]`."""

    name: str
    config: str | None
    version: str | None

    @classmethod
    def parse(cls, text: str) -> Address:
        """Errors: DataError."""
        match = ADDRESS.fullmatch(text)
        if match is None:
            raise DataError(
                f"tfds:{text} is not the address of a dataset.",
                "Write tfds:<name>[/<config>][:<version>], as in tfds:cifar10 or tfds:cifar10:3.0.2.",
            )
        return cls(match["name"], match["config"], match["version"])

    def __str__(self) -> str:
        config = f"/{self.config}" if self.config else ""
        version = f":{self.version}" if self.version else ""
        return f"tfds:{self.name}{config}{version}"

    @property
    def facts(self) -> tuple[str, ...]:
        """What identifies the dataset."""
        return ("tfds", self.name, self.config or "", self.version or "")


class Folder(Protocol):
    """What of a path is asked for: `pathlib.Path` has it, and so has a list of names in a store."""

    @property
    def name(self) -> str: ...
    def is_dir(self) -> bool: ...
    def is_file(self) -> bool: ...
    def iterdir(self) -> Iterator[Self]: ...
    def __truediv__(self, name: str) -> Self: ...


P = TypeVar("P", bound=Folder)


def find(given: Address, root: P) -> tuple[Address, P]:
    """The full address and the folder of a dataset that lies prepared below a folder.

    The newest version unless one is given, and the only config where there is one. Errors: DataError, which say what
    is there.
    """
    if not root.is_dir():
        raise DataError(f"data.data_dir {str(root)!r} is not a folder.", "Mend the path of the prepared data.")
    names = [path.name for path in _folders(root) if _versions(path) or _configs(path)]
    if given.name not in names:
        raise DataError(f"{root} holds no prepared dataset {given.name!r}.", nearest(given.name, names))
    folder = root / given.name
    configs = _configs(folder)
    if given.config is None and not _versions(folder):
        if len(configs) > 1:
            raise DataError(
                f"{folder} holds several configs: {', '.join(configs)}.", f"Say which: tfds:{given.name}/<config>."
            )
        given = replace(given, config=configs[0])
    if given.config is not None:
        if given.config not in configs:
            raise DataError(f"{folder} holds no config {given.config!r}.", nearest(given.config, configs))
        folder = folder / given.config
    versions = _versions(folder)
    version = given.version or versions[-1]
    if version not in versions:
        raise DataError(f"{folder} holds no version {version}.", f"It holds {', '.join(versions)}.")
    return replace(given, version=version), folder / version


def _folders(folder: P) -> list[P]:
    try:
        found = [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
        return sorted(found, key=lambda path: path.name)
    except OSError as error:
        raise DataError(f"The folder {folder} cannot be read: {error.strerror}.", "Give read permission.") from None


def _configs(folder: Folder) -> list[str]:
    return [path.name for path in _folders(folder) if _versions(path)]


def _versions(folder: Folder) -> list[str]:
    """Versions of a prepared dataset, oldest first."""
    found = [path.name for path in _folders(folder) if VERSION.fullmatch(path.name) and (path / INFO).is_file()]
    return sorted(found, key=lambda version: tuple(map(int, version.split("."))))
