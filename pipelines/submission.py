"""From a recipe to a run on a pipeline server: the pipeline's version, the experiment, the run, and how it gets on.

A pipeline is named by recipe and environment, a version of it by commit and by the digest of its YAML. Equal YAML makes
no second version. Runs are in the experiment of the model's name.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any, NamedTuple

import kfp_server_api as api

from pipelines import compiling
from pipelines.client import Conflict, NotFound, Refused, Server
from pipelines.remote_runs import ENDED, Step, steps
from trainer import lineage
from trainer.config import Recipe
from trainer.errors import ServerError
from trainer.record import now

POLL = 5.0
"""Seconds between two looks at a run."""
OLDEST = (2, 15, 2)
"""Servers before it do not know all that today's compiler writes."""
LITERALS = (2, 17, 0)
"""Servers before it do not know lists to choose from."""
PATIENCE = 60
"""Looks in a row that may fail before a run is no longer followed."""

Show = Callable[[dict[str, Any]], None]


class Version(NamedTuple):
    """One version of a pipeline on the server."""

    pipeline: str
    """Id of the pipeline."""
    id: str
    name: str
    new: bool
    """Whether it was uploaded just now."""


def pipeline_name(recipe: Path, server: Server) -> str:
    """Of a recipe's file in an environment: the form of each begins with that recipe, on those machines."""
    return f"inception-{recipe.stem}-{server.environment.name}"


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
            except Refused as error:
                raise ServerError(error.message, _newer(server) or error.remedy) from error
            else:
                return Version(pipeline, made.pipeline_version_id, made.display_name or called, True)
    raise ServerError(f"The pipeline {name!r} has a hundred versions called {plain!r}.", "Delete some.")


def start(server: Server, recipe: Recipe, version: Version, force: bool = False) -> Any:
    """Start a run, in the experiment of the model's name. Returns the server's run. Errors: ServerError."""
    parameters: dict[str, Any] = {"recipe": compiling.asked(recipe, server.environment)}
    if force:
        parameters["force"] = True
    return start_with(server, recipe.registry.name, version.pipeline, version.id, parameters)


def start_with(
    server: Server, model: str, pipeline: str, version: str | None, parameters: dict[str, Any], name: str | None = None
) -> Any:
    """Start a run of a pipeline's version (None: the newest) with these parameters. Errors: ServerError."""
    reference = api.V2beta1PipelineVersionReference(pipeline_id=pipeline, pipeline_version_id=version)
    run = api.V2beta1Run(
        experiment_id=experiment(server, model),
        display_name=name or f"{model} {now():%Y-%m-%d %H:%M:%S}",
        pipeline_version_reference=reference,
        runtime_config=api.V2beta1RuntimeConfig(
            parameters=parameters, pipeline_root=server.environment.store.pipeline_root
        ),
        service_account=server.environment.run.service_account,
    )
    return server.send(server.runs.run_service_create_run, run)


def experiment(server: Server, name: str) -> str:
    """Id of an experiment, made if need be. Errors: ServerError."""
    found = find_experiment(server, name)
    if found is not None:
        return found
    asked = api.V2beta1Experiment(display_name=name, namespace=server.namespace)
    try:
        return str(server.send(server.experiments.experiment_service_create_experiment, asked).experiment_id)
    except Conflict:
        found = find_experiment(server, name)
        if found is None:
            raise
        return found


def find_experiment(server: Server, name: str) -> str | None:
    for one in server.all(server.experiments.experiment_service_list_experiments, "experiments", **server.here):
        if one.display_name == name:
            return str(one.experiment_id)
    return None


def follow(server: Server, run: str, show: Show) -> Any:
    """Watch a run until it ends. Returns the server's run. Errors: ServerError (out of reach for minutes)."""
    seen: dict[str, str] = {}
    lost = 0
    while True:
        try:
            found = server.read(server.runs.run_service_get_run, run)
            lost = 0
        except NotFound:
            raise
        except ServerError:
            lost += 1
            if lost > PATIENCE:
                raise
        else:
            for step in steps(found):
                for event in _events(step, seen.get(step.name)):
                    show(event)
                seen[step.name] = step.state
            if found.state in ENDED:
                return found
        time.sleep(POLL)


def _events(step: Step, before: str | None) -> list[dict[str, Any]]:
    """What is new of a step, as the events of `trainer.events`."""
    if step.state == before:
        return []
    base = {"kind": "step", "step": step.name, "run_key": "", "tick": ""}
    started = {**base, "status": "started", "line": f"{step.name} …"}
    first = [started] if before is None else []
    if step.state == "SUCCEEDED":
        line = f"{step.name} done in {step.seconds:.1f} s"
        return [*first, {**base, "status": "done", "seconds": step.seconds, "line": line}]
    if step.state == "FAILED":
        return [*first, {**base, "status": "failed", "line": f"{step.name} failed. {step.error}".strip()}]
    return first if step.state == "RUNNING" else []


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


def _newer(server: Server) -> str | None:
    """What to do with a server that refused a pipeline because it is too old for it; None where it is not."""
    version = server.version
    if version is None or version >= LITERALS:
        return None
    called = f"The server is Kubeflow Pipelines {'.'.join(map(str, version))}"
    if version < OLDEST:
        return f"{called}; pipelines of this compiler need {'.'.join(map(str, OLDEST))} or newer."
    if server.environment.server.choices:
        return f"{called}, which knows no lists to choose from: set choices = false under [server]."
    return None


def _mark(text: str) -> str:
    return f"YAML sha256:{compiling.digest(text)}"


def _commit() -> str:
    """The checkout's commit, or the installed distribution's version."""
    found = lineage.here().get(lineage.GIT_COMMIT)
    if found is None:
        return f"v{installed('inception-retrain')}"
    dirty = lineage.DIRTY if found.endswith(lineage.DIRTY) else ""
    return found[:12] + dirty
