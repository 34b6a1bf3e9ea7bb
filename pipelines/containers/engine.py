"""The Docker engine of this machine, and the project's images on it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.environments import IMAGES
from trainer import lineage
from trainer.errors import InceptionError, UsageError

if TYPE_CHECKING:
    from docker import DockerClient

NAME = "inception-{}"
"""How the steps call an image, of `light`, `cpu` and `gpu`."""
KINDS = (*IMAGES, "mlflow")
"""What `make images` makes: the steps' images, and the MLflow server's."""
VERSION_LABEL, COMMIT_LABEL = "org.opencontainers.image.version", "org.opencontainers.image.revision"
COMMIT_LENGTH = 12


@dataclass(frozen=True)
class Image:
    """One image that `make images` made."""

    kind: str
    """One of KINDS."""
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
        commit = self.commit.removesuffix(lineage.DIRTY)[:COMMIT_LENGTH]
        return "-".join(filter(None, [self.version, commit])) + lineage.DIRTY * self.commit.endswith(lineage.DIRTY)


class EngineError(InceptionError):
    """An engine that answered and then did not, or not as it should."""


@contextmanager
def opened() -> Iterator[DockerClient]:
    """The engine that DOCKER_HOST names, or this machine's own.

    Errors: UsageError (none answers), EngineError (it fails while it is in use).
    """
    import docker
    import requests
    from docker.errors import DockerException
    from urllib3.exceptions import HTTPError

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
    except (DockerException, requests.RequestException, HTTPError) as error:
        raise EngineError(
            f"The Docker engine failed: {type(error).__name__}: {error}.", "Look at the engine's own log."
        ) from error
    finally:
        client.close()


def images(client: DockerClient) -> list[Image]:
    """Those that are there, in the order of KINDS."""
    found = {tag: one for one in client.images.list() for tag in one.tags}
    tags = {kind: f"{NAME.format(kind)}:latest" for kind in KINDS}
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


def of_one_commit(images: Collection[Image]) -> None:
    """Errors: UsageError (steps' images that were not built of the same code, which would be run as one pipeline)."""
    states = {image.state for image in images if image.kind in IMAGES}
    if len(states) > 1:
        built = ", ".join(f"{NAME.format(image.kind)} of {image.state}" for image in images if image.kind in IMAGES)
        raise UsageError(
            f"The images were not built of one commit: {built}.",
            "The steps of one pipeline need the same code: build them anew with `make images`.",
        )


def age(images: Collection[Image]) -> str | None:
    """What is to be said of steps' images that were built of another commit than this checkout is at."""
    here = lineage.commit()
    others = {image.state: None for image in images if image.kind in IMAGES and image.commit != here}
    if here is None or not others:
        return None
    return f"The images were built of {', '.join(others)}, this checkout is at {here}: `make images` builds them anew."
