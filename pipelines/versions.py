"""A compiled pipeline on a pipeline server: its name, its versions, and bringing a version there once.

A pipeline is named by recipe and environment, a version of it by commit and by the digest of its YAML. Equal YAML makes
no second version.
"""

from __future__ import annotations

import re
import tempfile
from importlib.metadata import version as installed
from pathlib import Path
from typing import NamedTuple

import kfp_server_api as api

from pipelines import compiling
from pipelines.client import Server
from pipelines.server_errors import Conflict, NotFound, Passing, Unanswered
from trainer import lineage
from trainer.config import sha256_text
from trainer.errors import ServerError

OLDEST = (2, 15, 2)
"""Servers before it do not know all that today's compiler writes."""
LITERALS = (2, 17, 0)
"""Servers before it know no lists to choose from, and no user of a step."""
_LONGEST = 100
"""Characters of a pipeline's name that say something; the server takes 128."""


class Version(NamedTuple):
    """One version of a pipeline on the server."""

    pipeline: str
    """Id of the pipeline."""
    id: str
    name: str
    new: bool
    """Whether it was uploaded just now."""


def pipeline_name(recipe: Path, server: Server) -> str:
    """Of a recipe's file in an environment: the form of each begins with that recipe, on those machines.

    In small letters, digits and dashes, which is all that servers take that keep pipelines as Kubernetes objects; what
    is lost by that, in a name with other letters or a very long one, a digest makes up for.
    """
    plain = f"inception-{recipe.stem}-{server.environment.name}".lower()
    name = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    if len(name) <= _LONGEST and re.fullmatch(r"[-_. a-z0-9]+", plain):
        return name
    return f"{name[:_LONGEST].rstrip('-')}-{sha256_text(plain)[:8]}"


def version_name(text: str) -> str:
    """Commit and digest of a compiled pipeline: `3d03aff21c04-9f86d081884c`."""
    return f"{_commit()}-{compiling.digest(text)[:12]}"


def find_version(server: Server, name: str, text: str, newest: bool = False) -> Version | None:
    """The pipeline's version with this YAML, if it is there.

    Args:
        server: where.
        name: of the pipeline.
        text: the compiled pipeline.
        newest: count the newest version only.
    """
    try:
        pipeline = _pipeline(server, name)
    except NotFound:
        return None
    mark = _mark(text)
    for one in server.all(
        server.pipelines.pipeline_service_list_pipeline_versions,
        "pipeline_versions",
        pipeline_id=pipeline,
        sort_by="created_at desc",
    ):
        if mark in (one.description or ""):
            return Version(pipeline, one.pipeline_version_id, one.display_name, False)
        if newest:
            return None
    return None


def upload(server: Server, name: str, text: str, newest: bool = False) -> Version:
    """The pipeline's version with this YAML, made if need be; with `newest` it is the newest one afterwards.

    Errors: ServerError.
    """
    found = find_version(server, name, text, newest)
    if found is not None:
        return found
    pipeline = _made_pipeline(server, name)
    plain = version_name(text)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "retrain.yaml"
        file.write_text(text, encoding="utf-8")
        for number in range(1, 100):
            called = plain if number == 1 else f"{plain}-{number}"
            try:
                made = server.send(
                    server.uploads.upload_pipeline_version,
                    str(file),
                    name=called,
                    pipelineid=pipeline,
                    description=_mark(text),
                )
            except Conflict:
                # Somebody uploaded the same in this moment; or the name is an older version's, and a newer is wanted.
                found = find_version(server, name, text, newest)
                if found is not None:
                    return found
            except Passing as error:
                raise explained(error, server) from error
            else:
                return Version(pipeline, made.pipeline_version_id, made.display_name or called, True)
    raise ServerError(f"The pipeline {name!r} has a hundred versions called {plain!r}.", "Delete some.")


def explained(error: Passing, server: Server) -> ServerError:
    """A refusal, with what to do where the server is too old for what it was sent; else as it is."""
    version = None if error.may_pass or isinstance(error, Unanswered) else server.version
    if version is None or version >= LITERALS:
        return error
    at = server.environment
    called = f"The server is Kubeflow Pipelines {'.'.join(map(str, version))}"
    if version < OLDEST:
        words = f"{called}; pipelines of this compiler need {'.'.join(map(str, OLDEST))} or newer."
    elif at.server.choices:
        words = f"{called}, which knows no lists to choose from: set choices = false under [server]."
    elif at.run.user is not None:
        words = f"{called}, which knows no user of a step: leave user out under [run]."
    else:
        return error
    return ServerError(error.message, words)


def _pipeline(server: Server, name: str) -> str:
    found = server.read(server.pipelines.pipeline_service_get_pipeline_by_name, name, **server.here)
    return str(found.pipeline_id)


def _made_pipeline(server: Server, name: str) -> str:
    try:
        return _pipeline(server, name)
    except NotFound:
        asked = api.V2beta1Pipeline(name=name, display_name=name, namespace=server.namespace)
    try:
        return str(server.send(server.pipelines.pipeline_service_create_pipeline, asked).pipeline_id)
    except Conflict:
        return _pipeline(server, name)


def _mark(text: str) -> str:
    return f"YAML sha256:{compiling.digest(text)}"


def _commit() -> str:
    """The checkout's commit, or the installed distribution's version."""
    found = lineage.here().get(lineage.GIT_COMMIT)
    if found is None:
        return f"v{installed('inception-retrain')}"
    dirty = lineage.DIRTY if found.endswith(lineage.DIRTY) else ""
    return found[:12] + dirty
