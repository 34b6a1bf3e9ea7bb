"""How the images get into a registry, and what they are called there: by digest."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.containers.engine import NAME, Image
from trainer.errors import InceptionError, UsageError
from trainer.state import write_atomically

if TYPE_CHECKING:
    from docker import DockerClient


_HOST = r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]+)?"
_PART = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_REGISTRY = re.compile(rf"{_HOST}(?:/{_PART})*")


class PushError(InceptionError):
    """A registry that is out of reach or refuses an image."""


def checked(registry: str) -> str:
    """A registry as images are named by it: `registry.example.com:5000/team`. Errors: UsageError."""
    address = registry.rstrip("/")
    if not _REGISTRY.fullmatch(address):
        raise UsageError(
            f"{registry!r} is not how images name a registry.",
            "Write host, port and path alone, the path in small letters: registry.example.com:5000/team.",
        )
    return address


def push(client: DockerClient, image: Image, registry: str, say: Callable[[str], None]) -> str:
    """Tag an image by version and commit, and push it. Returns its address by digest.

    Args:
        client: the engine that has it.
        image: what to push.
        registry: as `checked` returns it; the engine signs in as `docker login` left it.
        say: told what is pushed.

    Errors: UsageError (no version to tag it by), PushError.
    """
    import requests
    from docker.errors import APIError
    from urllib3.exceptions import HTTPError

    if not image.state:
        raise UsageError(f"The image {image.tag} says neither version nor commit.", "Build it with `make images`.")
    repository = f"{registry}/{NAME.format(image.kind)}"
    say(f"pushing {repository}:{image.state}")
    try:
        client.images.get(image.id).tag(repository, image.state)
        for line in client.images.push(repository, image.state, stream=True, decode=True):
            if "error" in line:
                raise _refused(repository, line["error"])
            if "Digest" in line.get("aux", {}):
                return f"{repository}@{line['aux']['Digest']}"
    except APIError as error:
        raise _refused(repository, error.explanation or str(error)) from None
    except (requests.RequestException, HTTPError) as error:  # the SDK reads what streams past requests
        raise _refused(repository, f"the engine broke off ({type(error).__name__})") from None
    raise _refused(repository, "it named no digest")


def known(file: Path) -> dict[str, str]:
    """What a file of digests says; nothing where there is none yet. To be asked before hours of pushing.

    Errors: UsageError (it holds something else, or cannot be written).
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        content = dict(content.items())
    except (ValueError, AttributeError, OSError) as error:
        raise UsageError(
            f"The image digests {str(file)!r} cannot be read: {error}.", "Remove the file, or name another with -o."
        ) from None
    folder = file.absolute().parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise UsageError(
            f"The image digests {str(file)!r} cannot be written: {folder} is no folder that you may write to.",
            "Name another file with -o.",
        )
    return content


def write(file: Path, addresses: dict[str, str]) -> None:
    """Write the file of digests that environments read; what it says of other images stays. Errors: as `known`."""
    write_atomically(file.absolute(), json.dumps({**known(file), **addresses}, indent=2) + "\n")


def _refused(repository: str, reason: str) -> PushError:
    return PushError(
        f"The image could not be pushed to {repository}: {reason}.",
        "See that the registry's address is right, that it can be reached, and that `docker login` was done.",
    )
