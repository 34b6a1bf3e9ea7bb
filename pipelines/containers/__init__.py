"""The pipeline in containers of this machine: `kfp.local` runs every step in the project's own images.

What kfp's Docker runner does otherwise than one may think, and what is done about it here:

- It finds an image by the exact text of a local tag and pulls whatever it misses: all three are looked for first.
- What it mounts belongs to root afterwards: the steps run as the caller, who owns what they write.
- It ignores what a pipeline says of secrets, volumes and time limits: a pipeline that says such things is refused.
- It deletes the workspace that it is given: it gets one of its own, as `pipelines.local` has it.
- A container that failed and vanished may count as done: the outcome is what the steps wrote, not what it says.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.containers import engine
from pipelines.containers.reach import environment, mounts
from pipelines.local import GRACE_SECONDS, followed, start, stopping
from trainer import lineage
from trainer.config import Recipe
from trainer.errors import UsageError
from trainer.events import EVENTS_VARIABLE
from trainer.record import Outcome
from trainer.state import State

if TYPE_CHECKING:
    from docker import DockerClient

RUN_LABEL = "inception.run"
"""Of a container: the run that it belongs to."""


def run(recipe: Recipe, state: State, show: Callable[[dict[str, Any]], None], force: bool = False) -> Outcome:
    """Run the pipeline once, its steps as containers.

    Args and returns as `pipelines.local.run`.
    Errors: UsageError (no engine, no image, something that containers cannot reach); those of `pipelines.local.run`.
    """
    with engine.opened() as client:
        images = _images(client)
        if (line := engine.age(images.values())) is not None:
            show({"kind": "note", "line": line})
        pipeline = on_images(images)
        label = uuid.uuid4().hex
        settings: dict[str, Any] = {
            "user": f"{os.getuid()}:{os.getgid()}",
            "working_dir": str(Path.cwd()),  # where a recipe's relative paths begin
            "environment": environment(client, state),
            "mounts": mounts(recipe, state),
            "labels": {RUN_LABEL: label},
            "init": True,  # passes a SIGTERM on to the step
        }
        if _has_gpus(client):
            from docker.types import DeviceRequest

            settings["device_requests"] = [DeviceRequest(count=-1, capabilities=[["gpu"]])]

        def steps(workspace: Path) -> None:
            from kfp import local

            settings["environment"] |= {EVENTS_VARIABLE: str(workspace / "events.jsonl")}
            start(workspace, local.DockerRunner(**settings))
            # The engine would make what it mounts and does not find, as root.
            for folder in ("outputs", "workspace"):
                (workspace / folder).mkdir()
            with stopping(lambda: _stop_containers(client, label)):
                pipeline(recipe=recipe.canonical(), root=str(state.root), force=force)

        return followed(state, show, steps)


def on_images(images: dict[str, engine.Image]) -> Any:
    """The pipeline on images of this machine, each step told which one it runs in.

    Errors: UsageError (it says what would be ignored here).
    """
    from pipelines.retrain import tried_once

    pipeline = tried_once()
    expect_nothing_of_kubernetes(pipeline)
    for executor in pipeline.pipeline_spec.deployment_spec["executors"].values():
        image = images[executor["container"]["image"].removeprefix(engine.NAME.format(""))]
        executor["container"]["image"] = image.tag
        executor["container"]["env"] = [{"name": lineage.IMAGE_VARIABLE, "value": f"{image.tag}@{image.id}"}]
    return pipeline


def expect_nothing_of_kubernetes(pipeline: Any) -> None:
    """Errors: UsageError (secrets, volumes, time limits and the like, which no runner of this machine heeds)."""
    if not pipeline.platform_spec.platforms:
        return
    wants = {
        key
        for platform in pipeline.platform_spec.platforms.values()
        for executor in platform.deployment_spec.executors.values()
        for key in executor.fields
    }
    raise UsageError(
        f"This pipeline is fitted to a cluster ({', '.join(sorted(wants)) or 'its platform settings'}), which would be "
        "silently ignored on this machine.",
        "Run it with --target kfp.",
    )


def _images(client: DockerClient) -> dict[str, engine.Image]:
    """The three images; without a GPU, or without its image, training runs in `cpu`. Errors: UsageError."""
    found = engine.needed(client, ("light", "cpu"))
    there = {image.kind: image for image in engine.images(client)}
    found |= {"gpu": there["gpu"] if _has_gpus(client) and "gpu" in there else found["cpu"]}
    engine.of_one_commit(found.values())
    return found


def _has_gpus(client: DockerClient) -> bool:
    return "nvidia" in client.info().get("Runtimes", {})


def _stop_containers(client: DockerClient, label: str) -> None:
    from docker.errors import APIError

    for container in client.containers.list(filters={"label": f"{RUN_LABEL}={label}"}):
        try:
            container.stop(timeout=round(GRACE_SECONDS))
        except APIError:
            continue  # it has just ended by itself, and is gone
