"""The installation that infra/kubernetes renders to, and what reads it."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


def _support(name: str) -> ModuleType:
    """A module of tests/support, which is no package: tests are found by their paths."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[1] / "support" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_MANIFESTS = _support("manifests")


@pytest.fixture(scope="session")
def manifests() -> Any:
    """tests/support/manifests.py, where there is a kubectl to render with."""
    if _MANIFESTS.KUBECTL is None:
        pytest.skip("kubectl is not installed")
    return _MANIFESTS


@pytest.fixture(scope="session")
def policies() -> Any:
    """tests/support/network_policies.py."""
    return _support("network_policies")


@pytest.fixture(params=["dev", "prod"])
def overlay(request: pytest.FixtureRequest) -> str:
    """Name of an overlay, and of the environment that belongs to it."""
    return str(request.param)


@pytest.fixture
def objects(manifests: Any, overlay: str) -> list[dict[str, Any]]:
    """What the overlay renders to."""
    rendered: list[dict[str, Any]] = manifests.rendered(manifests.OVERLAYS / overlay)
    return rendered


@pytest.fixture
def prod(manifests: Any) -> list[dict[str, Any]]:
    """What the overlay `prod` renders to, to be changed as one likes."""
    rendered: list[dict[str, Any]] = manifests.rendered(manifests.OVERLAYS / "prod")
    return rendered


@pytest.fixture
def sockets() -> Iterator[Path]:
    """The folder with the socket of a PostgreSQL that anybody on this machine may speak to."""
    postgres = _support("postgres")
    if why := postgres.missing():
        pytest.skip(why)
    with postgres.cluster() as address:
        folder = Path(address.rpartition("host=")[2])
        folder.chmod(0o711)
        yield folder
