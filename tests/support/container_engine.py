"""A Docker engine with this project's images, for the tests that run them.

Where an engine answers and has images of this very code, they are used. With INCEPTION_TEST_DOCKER=1 an engine is
started where none answers, and the images are built first, which takes minutes; what was started is stopped. Where
that cannot be, the tests are skipped, with the reason; what fails once an engine is there is a failure.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pipelines.containers import engine
from pipelines.environments import IMAGES
from trainer import lineage
from trainer.check import code_digest
from trainer.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT.parent / "shared" / "tools"
SWITCH = "INCEPTION_TEST_DOCKER"
CODE = "python3 -c 'from trainer.check import code_digest; print(code_digest())'"


class Containers:
    """An engine, and what is done with this project's images on it."""

    def __init__(self, client: Any) -> None:
        self.client = client

    def ready(self, kinds: Collection[str]) -> None:
        """See that there are images of these kinds that hold this code: build them, or skip."""
        build = os.environ.get(SWITCH) == "1"
        if build:
            if TOOLS.exists():
                _done(str(TOOLS / "base-image"))
            _done("make", "images", f"IMAGES={' '.join(kinds)}")
        there = {image.kind: image for image in engine.images(self.client)}
        if not set(kinds) <= set(there):
            pytest.skip(f"the engine has no images of this project; {SWITCH}=1 builds them")
        for kind in kinds:
            if not self._of_this_code(there[kind]):
                assert not build, f"the image {kind}, just built, holds other code"
                pytest.skip(f"the image {kind} was built of other code; {SWITCH}=1 builds it anew")

    def inside(self, kind: str, command: str, **settings: Any) -> str:
        """What a command in an image prints."""
        tag = f"{engine.NAME.format(kind)}:latest"
        said: bytes = self.client.containers.run(tag, ["sh", "-c", command], remove=True, **settings)
        return said.decode()

    def _of_this_code(self, image: engine.Image) -> bool:
        if image.kind in IMAGES:
            return self.inside(image.kind, CODE).strip() == code_digest()
        return image.commit == lineage.commit()


@contextmanager
def running(folder: Path) -> Iterator[Containers]:
    """An engine that answers, or one that is started, and stopped again; else a skip.

    Args:
        folder: where an engine that is started here has its log and the number of its process.
    """
    started = False
    try:
        if not _answers():
            if os.environ.get(SWITCH) != "1":
                pytest.skip(f"no Docker engine answers; {SWITCH}=1 starts one")
            if not TOOLS.exists():
                pytest.skip("no Docker engine answers, and there is no tool to start one with")
            started = True
            up = _tool("docker-up", folder)
            if up.returncode != 0:
                pytest.skip(f"no Docker engine answers, and none can be started: {_end(up)}")
        with engine.opened() as client:
            yield Containers(client)
    finally:
        if started:
            down = _tool("docker-down", folder)
            assert down.returncode == 0, _end(down)


def _answers() -> bool:
    try:
        with engine.opened():
            return True
    except UsageError:
        return False


def _tool(name: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"DOCKER_UP_STATE": str(folder)}
    return subprocess.run([TOOLS / name], env=environment, capture_output=True, text=True, check=False)


def _done(*command: str) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {_end(done)}"


def _end(done: subprocess.CompletedProcess[str]) -> str:
    return "\n".join((done.stdout + done.stderr).strip().splitlines()[-20:])
