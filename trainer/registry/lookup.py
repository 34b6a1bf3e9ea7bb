"""What lies behind NAME, NAME@alias or NAME/version, with the evidence that belongs to it."""

from __future__ import annotations

import re
from datetime import datetime

from pydantic import BaseModel, ConfigDict

from trainer.errors import RegistryError, UsageError, nearest, without_credentials
from trainer.lineage import GIT_COMMIT, IMAGE_DIGEST, KFP_RUN_ID
from trainer.registry.protocol import (
    CHAMPION,
    ENTRY_TAG,
    RETIRED_TAG,
    RUN_KEY_TAG,
    VERDICT_TAG,
    ModelVersion,
    Registry,
    accuracy_of,
    expect_version,
)

_REFERENCE = re.compile(r"(?P<name>[^@/\s]+)(?:@(?P<alias>[^@/\s]+)|/(?P<version>[^@/\s]+))?")

LINEAGE = (
    *(RUN_KEY_TAG, "fingerprint", "config_digest", "code_digest"),
    *(GIT_COMMIT, IMAGE_DIGEST, KFP_RUN_ID, "verdict_digest"),
)
"""The tags that trace a version back: the run key and its parts, the code and the image, the run, the decision."""


class Found(BaseModel):
    """A model version as users ask for it; what older versions did not record is None."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    name: str
    version: str
    aliases: list[str]
    model_uri: str
    """Address of the artifact."""
    load_uri: str
    """What `mlflow.pyfunc.load_model` takes."""
    accuracy: float | None = None
    """On the frozen test examples, when it was made."""
    verdict: str | None = None
    """`promoted`, `kept` or `undecided`; None where the run has not come that far."""
    verdict_reason: str | None = None
    verdict_digest: str | None = None
    retired: str | None = None
    """Why it is never to be champion again; None where it was not retired."""
    doubt: str | None = None
    """Why its alias `champion` is not to be believed; None where nothing is known against it."""
    fingerprint: str | None = None
    run_key: str | None = None
    run_id: str
    lineage: dict[str, str] = {}
    """What it was made of, and by what, in the order of `LINEAGE`; the recipe is among the tags only."""
    tracking_uri: str | None = None
    """Of the MLflow store that it is in, without user and password; None where the registry is none of MLflow's."""
    tags: dict[str, str]
    created_at: datetime

    @classmethod
    def of(cls, found: ModelVersion, tracking_uri: str | None = None) -> Found:
        tags = found.tags
        return cls(
            name=found.name,
            version=found.version,
            aliases=found.aliases,
            model_uri=found.model_uri,
            load_uri=f"models:/{found.name}/{found.version}",
            accuracy=accuracy_of(found),
            verdict=tags.get(VERDICT_TAG),
            verdict_reason=tags.get("verdict_reason"),
            verdict_digest=tags.get("verdict_digest"),
            retired=tags.get(RETIRED_TAG),
            fingerprint=tags.get("fingerprint"),
            run_key=tags.get(RUN_KEY_TAG),
            run_id=found.run_id,
            lineage={tag: tags[tag] for tag in LINEAGE if tag in tags},
            tracking_uri=tracking_uri and without_credentials(tracking_uri),
            tags=tags,
            created_at=found.created_at,
        )


def lookup(registry: Registry, reference: str) -> Found:
    """Find a model version.

    Args:
        registry: where to look.
        reference: `NAME` (its champion), `NAME@champion`, `NAME@challenger` or `NAME/3`; the form
            `models:/NAME@champion` that MLflow uses is understood too.

    Errors: UsageError (not such a reference), RegistryError (no such model, alias or version).
    """
    match = _REFERENCE.fullmatch(reference.removeprefix("models:/"))
    if match is None:
        raise UsageError(f"Received the model {reference!r}.", "Write NAME, NAME@champion, NAME@challenger or NAME/3.")
    name, version = match["name"], match["version"]
    if version is not None:
        expect_version(version)
    if name not in registry.names():
        registry.versions(name)  # says that there is none, or that a server does not let this user see it
    found = registry.get(name, version or _behind(registry, name, match["alias"] or CHAMPION))
    return Found.of(found, getattr(registry, "uri", None))


def _behind(registry: Registry, name: str, alias: str) -> str:
    version = registry.alias(name, alias)
    if version is not None:
        return version
    versions = registry.versions(name)
    if alias != CHAMPION:
        known = {one for found in versions for one in found.aliases}
        raise RegistryError(
            f"{name!r} has no alias {alias!r}. {nearest(alias, known)}",
            f"See `inception models`; a version is named as {name}/1.",
        )
    former = [one for one in versions if ENTRY_TAG in one.tags or one.tags.get(VERDICT_TAG) == "promoted"]
    if not former:
        raise RegistryError(
            f"{name!r} has no champion: no version has been promoted yet.",
            f"See `inception models`; a version is named as {name}/1.",
        )
    were = ", ".join(one.version + (" (retired)" if RETIRED_TAG in one.tags else "") for one in former)
    raise RegistryError(
        f"{name!r} has no champion now. Versions that were: {were}.",
        f"See why: inception models history {name}; and whether somebody took the alias away: inception models audit "
        f"{name}",
    )
