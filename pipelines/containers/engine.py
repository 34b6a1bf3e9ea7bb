"""The Docker engine of this machine, and the project's images on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.environments import IMAGES
from trainer.errors import UsageError

if TYPE_CHECKING:
    from docker import DockerClient

NAME = "inception-{}"
"""How the steps call an image, of `light`, `cpu` and `gpu`."""
VERSION_LABEL, COMMIT_LABEL = "org.opencontainers.image.version", "org.opencontainers.image.revision"
COMMIT_LENGTH = 12
_DIRTY = "-dirty"


@dataclass(frozen=True)
class Image:
    """One image that `make images` made."""

    kind: str
    """`light`, `cpu` or `gpu`."""
    tag: str
    """Under which `kfp.local` finds it: it looks for this very text among the tags, and pulls whatever it misses."""
    id: str
    size: int
    """Bytes, unpacked."""
    version: str
    commit: str
    """In full, with `-dirty` where files had been changed; empty where the image does not say."""

    @property
    def state(self) -> str:
        """VERSION-COMMIT, as the image's other tag says."""
        commit = self.commit.removesuffix(_DIRTY)[:COMMIT_LENGTH]
        return "-".join(filter(None, [self.version, commit])) + _DIRTY * self.commit.endswith(_DIRTY)


@contextmanager
def opened() -> Iterator[DockerClient]:
    """The engine that DOCKER_HOST names, or this machine's own. Errors: UsageError (none answers)."""
    import docker
    from docker.errors import DockerException

    try:
        client = docker.from_env()
        client.ping()
    except DockerException as error:
        raise UsageError(
            f"No Docker engine answers: {error}.",
            "Start one, see that you may use it (group docker), or name one with DOCKER_HOST.",
        ) from None
    try:
        yield client
    finally:
        client.close()


def images(client: DockerClient) -> list[Image]:
    """Those of the three that are there, in the order light, cpu, gpu."""
    found = {tag: one for one in client.images.list() for tag in one.tags}
    tags = {kind: f"{NAME.format(kind)}:latest" for kind in IMAGES}
    return [
        Image(
            kind,
            tag,
            found[tag].id,
            found[tag].attrs["Size"],
            found[tag].labels.get(VERSION_LABEL, ""),
            found[tag].labels.get(COMMIT_LABEL, ""),
        )
        for kind, tag in tags.items()
        if tag in found
    ]


def needed(client: DockerClient, kinds: Sequence[str]) -> dict[str, Image]:
    """The images of these kinds. Errors: UsageError (one is not there)."""
    there = {image.kind: image for image in images(client)}
    missing = [kind for kind in kinds if kind not in there]
    if missing:
        names = ", ".join(NAME.format(kind) for kind in missing)
        raise UsageError(
            f"The Docker engine has no image {names}.", f'Build it: make images IMAGES="{" ".join(missing)}".'
        )
    return {kind: there[kind] for kind in kinds}
