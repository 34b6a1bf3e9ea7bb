"""The installation that infra/kubernetes renders to, and what reads it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import manifests as the_manifests
import pytest


@pytest.fixture(scope="session")
def manifests() -> Any:
    """tests/support/manifests.py, where there is a kubectl to render with."""
    if the_manifests.KUBECTL is None:
        pytest.skip("kubectl is not installed")
    return the_manifests


@pytest.fixture(scope="session")
def policies() -> Any:
    """tests/support/network_policies.py."""
    import network_policies

    return network_policies


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
    import postgres

    if why := postgres.missing():
        pytest.skip(why)
    with postgres.cluster() as address:
        folder = Path(address.rpartition("host=")[2])
        folder.chmod(0o711)
        yield folder
