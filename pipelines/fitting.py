"""The one pipeline, fitted to an environment: the same steps in the same order, on that cluster's images and machines.

The pipeline's own function is called as it stands; then every task is given what the environment says, through kfp's
own task interface. The pipeline that runs on one machine is not touched.
"""

from __future__ import annotations

import functools
from typing import Any

from google.protobuf.struct_pb2 import Value
from kfp import dsl, kubernetes
from kfp.dsl.pipeline_context import Pipeline

from pipelines.environments import IMAGES, Environment, image
from pipelines.environments.places import STEP_LABEL, StateVolume
from pipelines.environments.pods import SHARED_MEMORY, SHARED_MEMORY_FOLDER, STATE_VOLUME
from pipelines.environments.steps import Retry, Secret, Step
from pipelines.retrain import retrain
from trainer.lineage import IMAGE_VARIABLE
from trainer.models.zoo import VARIANTS

_IMAGE = "inception-"
_DESCRIPTION = "kubernetes.io/description"
"""Kubernetes' own annotation for such words: KFP's format has no place for a step's description."""


def fitted(environment: Environment, allow_tags: bool = False) -> Any:
    """The pipeline for an environment. Errors: RecipeError (an image is missing, or has no digest)."""
    images = {f"{_IMAGE}{kind}": image(environment, kind, allow_tags) for kind in IMAGES}
    info = retrain.pipeline_spec.pipeline_info

    @functools.wraps(retrain.pipeline_func)
    def steps(*inputs: Any) -> None:
        retrain.pipeline_func(*inputs)
        for task in Pipeline.get_default_pipeline().tasks.values():
            address = images[task.container_spec.image]
            task.set_container_image(address)
            task.set_env_variable(IMAGE_VARIABLE, address)
            _fit(task, environment)

    pipeline = dsl.pipeline(
        name=info.name,
        display_name=info.display_name,
        pipeline_root=environment.store.pipeline_root,
        pipeline_config=_config(environment),
    )(steps)
    if environment.server.choices:
        _offer(pipeline, "variant", ["", *VARIANTS])
    return pipeline


def _config(environment: Environment) -> dsl.PipelineConfig:
    keep, deadline = environment.run.keep_hours, environment.run.deadline_hours
    return dsl.PipelineConfig(
        ttl_seconds_after_finished=None if keep is None else round(3600 * keep),
        active_deadline_seconds=None if deadline is None else round(3600 * deadline),
    )


def _fit(task: dsl.PipelineTask, environment: Environment) -> None:
    """What the environment says of one step."""
    step: Step = getattr(environment.steps, task.name)
    for name, value in environment.step_variables.items():
        task.set_env_variable(name, value)
    for name, value in sorted({STEP_LABEL: task.name, **environment.run.labels}.items()):
        kubernetes.add_pod_label(task, name, value)
    kubernetes.add_pod_annotation(task, _DESCRIPTION, _about(task))
    if environment.images.pull_secrets:
        kubernetes.set_image_pull_secrets(task, list(environment.images.pull_secrets))
    if environment.run.user is not None:
        kubernetes.set_security_context(task, run_as_user=environment.run.user, run_as_non_root=True)
    _keep(task, environment.state)
    for secret in environment.secrets:
        if task.name in secret.steps:
            _give(task, secret)
    _allot(task, step)
    _place(task, step)
    if step.timeout_minutes is not None:
        kubernetes.set_timeout(task, round(60 * step.timeout_minutes))
    if step.retry is not None:
        _retry(task, step.retry)


def _about(task: dsl.PipelineTask) -> str:
    """What a step does, in a line."""
    return " ".join(task.component_spec.description.split("\n\n")[0].split())


def _keep(task: dsl.PipelineTask, state: StateVolume) -> None:
    """The state folder: the volume that all steps share, or an empty one of the step's own."""
    if state.claim is not None:
        kubernetes.mount_pvc(task, state.claim, state.mount, state.sub_path)
    else:
        kubernetes.empty_dir_mount(task, STATE_VOLUME, state.mount, size_limit=state.size)


def _give(task: dsl.PipelineTask, secret: Secret) -> None:
    if secret.mount is not None:
        kubernetes.use_secret_as_volume(task, secret.secret, secret.mount, optional=secret.optional)
    else:
        keys = {key: variable for variable, key in sorted(secret.variables.items())}
        kubernetes.use_secret_as_env(task, secret.secret, keys, optional=secret.optional)


def _allot(task: dsl.PipelineTask, step: Step) -> None:
    if step.cpu is not None:
        task.set_cpu_request(step.cpu)
    if step.cpu_limit is not None:
        task.set_cpu_limit(step.cpu_limit)
    if step.memory is not None:
        task.set_memory_request(step.memory)
        task.set_memory_limit(step.memory)
    if step.gpu is not None:
        task.set_accelerator_type(step.gpu.type)
        task.set_accelerator_limit(step.gpu.count)
    if step.shared_memory is not None:
        kubernetes.empty_dir_mount(
            task, SHARED_MEMORY, SHARED_MEMORY_FOLDER, medium="Memory", size_limit=step.shared_memory
        )


def _place(task: dsl.PipelineTask, step: Step) -> None:
    for label, value in sorted(step.node_selector.items()):
        kubernetes.add_node_selector(task, label, value)
    for toleration in step.tolerations:
        kubernetes.add_toleration(
            task,
            key=toleration.key,
            operator=toleration.operator,
            value=toleration.value,
            effect=toleration.effect,
        )


def _retry(task: dsl.PipelineTask, retry: Retry) -> None:
    task.set_retry(
        num_retries=retry.times,
        backoff_duration=f"{retry.pause}s",
        backoff_factor=retry.factor,
        backoff_max_duration=f"{retry.longest}s",
    )


def _offer(pipeline: Any, parameter: str, values: list[str]) -> None:
    """Let the form show a list of values.

    Servers take such lists since 2.17; the compiler of kfp 2.17.0 still refuses `Literal` parameters, so the list is
    written into the compiled specification, where its successor will write it.
    """
    spec = pipeline.pipeline_spec.root.input_definitions.parameters[parameter]
    spec.literals.extend(Value(string_value=value) for value in values)
