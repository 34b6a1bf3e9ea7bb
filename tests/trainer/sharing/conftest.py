from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainer.state import State

STORES = {"google": "gs://b/team", "memory": "memory://{name}/team", "folder": "{folder}/team"}

Pod = Callable[[], State]


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a shared store, which INCEPTION_STORE names: of every kind."""
    if request.param == "google":
        request.getfixturevalue("storage")
    address = STORES[request.param].format(name=tmp_path.name, folder=tmp_path)
    monkeypatch.setenv("INCEPTION_STORE", address)
    return address


@pytest.fixture
def bucket(storage: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A server of Google Cloud Storage with a shared store at gs://b/team."""
    monkeypatch.setenv("INCEPTION_STORE", "gs://b/team")
    return storage


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    """Makes an empty state folder with every call."""
    made: list[State] = []

    def new() -> State:
        made.append(State.open(tmp_path / "pods" / str(len(made))))
        return made[-1]

    return new
