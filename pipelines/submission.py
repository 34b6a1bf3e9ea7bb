"""A run on a pipeline server: starting it, in the experiment of the model's name, and how it gets on."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import kfp_server_api as api

from pipelines import compiling
from pipelines.client import Server
from pipelines.remote_runs import ENDED, Step, steps
from pipelines.server_errors import Conflict, NotFound, Passing, Unanswered
from pipelines.versions import Version, explained
from trainer.config import Recipe
from trainer.errors import ServerError
from trainer.record import now

POLL = 5.0
"""Seconds between two looks at a run."""
PATIENCE = 60
"""Looks in a row that may fail before a run is no longer followed."""

Show = Callable[[dict[str, Any]], None]


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
    try:
        return server.send(server.runs.run_service_create_run, run)
    except Unanswered as error:
        raise ServerError(
            error.message,
            "The run may have begun all the same. Look before you start another: inception runs --environment "
            f"{server.environment.name}",
        ) from error
    except Passing as error:
        raise explained(error, server) from error


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
