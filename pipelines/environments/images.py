"""`[images]`: what stands behind inception-light, inception-cpu and inception-gpu."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from pipelines.environments.names import Image, Name, Registry
from trainer.config_errors import explain
from trainer.errors import RecipeError
from trainer.sections.base import Section

IMAGES = ("light", "cpu", "gpu")
_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")


class Images(Section):
    """The three images. What the file of digests says goes first."""

    light: Image | None = None
    """For check, register, promote and report: `registry.example.com/inception-light@sha256:…`."""
    cpu: Image | None = None
    """For prepare and evaluate."""
    gpu: Image | None = None
    """For train."""
    registry: Registry | None = None
    """Where `inception images push` puts them: `registry.example.com/vision`."""
    digests: str | None = None
    """JSON file beside this one with the three addresses by digest, as `inception images push` writes it."""
    pull_secrets: Annotated[tuple[Name, ...], Field(strict=False)] = ()
    """Kubernetes secrets for the registry."""

    def pushed(self, file: Path) -> Images:
        """The same with what was pushed last, as the file of digests beside the environment's `file` has it.

        Errors: RecipeError (it is missing, or says something impossible).
        """
        if self.digests is None:
            return self
        path = file.parent / self.digests
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            known = {name: found[name] for name in IMAGES if name in found}
            if not isinstance(found, dict) or None in known.values():
                raise TypeError("it is no table of addresses")
            return Images.model_validate({**self.model_dump(), **known})
        except FileNotFoundError:
            raise RecipeError(
                f"{file}: there are no image digests at {self.digests!r}, seen from the file.",
                "Push the images first, with `inception images push`: that writes the file.",
            ) from None
        except ValidationError as error:
            raise RecipeError(explain(error, Images, str(path))[0], "Push the images again.") from None
        except (OSError, ValueError, TypeError) as error:
            raise RecipeError(
                f"The image digests {str(path)!r} cannot be read: {error}.", "Push the images again."
            ) from None

    def address(self, kind: str, environment: str, allow_tags: bool = False) -> str:
        """Of one image: `light`, `cpu` or `gpu`.

        Errors: RecipeError (there is none, or it has no digest and tags are not allowed).
        """
        address: str | None = getattr(self, kind)
        if address is None:
            raise RecipeError(
                f"The environment {environment!r} has no image {kind!r}.",
                f'Name it under [images]: {kind} = "registry/inception-{kind}@sha256:…".',
            )
        if not allow_tags and not _DIGEST.search(address):
            raise RecipeError(
                f"The environment {environment!r} names the image {address!r} without a digest: a tag may be moved, "
                "and the server's cache would not see it.",
                "Name it by digest, registry/name@sha256:…, or allow tags with --allow-tags.",
            )
        return address
