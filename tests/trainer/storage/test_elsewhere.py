"""Other object stores, through fsspec: what is refused, and in which words."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from trainer.errors import StateError, StoreError
from trainer.storage import Elsewhere, place


class Refusing(MemoryFileSystem):  # type: ignore[misc]
    """A store that raises what it is told to, as the packages behind fsspec do."""

    protocol = "refusing"
    error: BaseException | None = None

    def _raise(self, *_: Any, **__: Any) -> Any:
        raise self.error or AssertionError

    find = cat_file = pipe_file = put_file = get_file = rm_file = _raise


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> type[Refusing]:
    # There is a way into fsspec's table, and none out of it.
    monkeypatch.setitem(sys.modules["fsspec.registry"]._registry, "refusing", Refusing)  # type: ignore[attr-defined]
    return Refusing


@pytest.mark.parametrize(
    ("address", "says", "remedy"),
    [
        ("s3://b/x", "s3://b/x needs a package that is not installed: Install s3fs", "pip install s3fs, here and in"),
        ("abfs://b/x", "needs a package that is not installed: Install adlfs", "pip install adlfs"),
        ("s33://b/x", "there is no store 's33'", "Did you mean 's3'?"),
        ("https://host/x", "there is no store 'https'", "gs://bucket/path"),
        ("gcs://b/x", "Received the address 'gcs://b/x'", "gs://b/x"),
        ("memory:///", "Received the address 'memory:///'", "memory://bucket/path"),
    ],
)
def test_an_address_that_cannot_be_is_refused(
    address: str, says: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is asked; a package that is missing is named."""
    for package in ("s3fs", "adlfs"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(StateError, match=r"Received|needs") as caught:
        place(address)
    assert says in caught.value.message
    assert remedy in caught.value.remedy


class NoCredentials(Exception):
    """Such as botocore's: of no kin with OSError."""


@pytest.mark.parametrize(
    ("error", "says", "remedy"),
    [
        (NoCredentials("Unable to locate credentials\nmore"), "NoCredentials: Unable to locate credentials", "finds"),
        (PermissionError("Access Denied"), "PermissionError: Access Denied", "the right to list, read, write"),
        (ConnectionResetError("reset"), "ConnectionResetError: reset", "that the store answers"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_what_a_store_refuses_says_what_to_do(
    error: Exception, says: str, remedy: str, refusing: type[Refusing], tmp_path: Path
) -> None:
    """Whatever the package behind it raises, for all that can be asked."""
    refusing.error = error
    there = Elsewhere("refusing://b/x")
    (tmp_path / "file").touch()
    for work in (
        lambda: list(there.names()),
        lambda: there.read("a"),
        lambda: there.write("a", b""),
        lambda: there.put("a", tmp_path / "file"),
        lambda: there.remove("a"),
    ):
        with pytest.raises(StoreError, match=r"refusing://b/x.* cannot be used: ") as caught:
            work()
        assert says in caught.value.message
        assert "more" not in caught.value.message
        assert remedy in caught.value.remedy


def test_a_file_that_is_cut_does_not_appear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On either side: sizes are compared."""
    there = Elsewhere(f"memory://{tmp_path.name}")
    there.write("a", b"whole")
    [held] = there.stored()
    real = MemoryFileSystem.get_file

    def cut(self: Any, path: str, local: str, **more: Any) -> None:
        real(self, path, local, **more)
        Path(local).write_bytes(b"wh")

    monkeypatch.setattr(MemoryFileSystem, "get_file", cut)
    with pytest.raises(FileNotFoundError, match="written anew"):
        there.get(held, tmp_path / "a")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "b").write_bytes(b"whole")
    monkeypatch.setattr(MemoryFileSystem, "put_file", lambda self, local, path, **_: self.pipe_file(path, b"wh"))
    with pytest.raises(StoreError, match=r"/b has 2 bytes after an upload of 5"):
        there.put("b", tmp_path / "b")
