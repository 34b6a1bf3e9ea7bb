"""`[steps.*]` and `[[secrets]]`: what each step may use, where it runs, and what it is given to know."""

from __future__ import annotations

import warnings
from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from pipelines.environments.names import (
    Cpu,
    Folder,
    Key,
    LabelKey,
    LabelValue,
    Memory,
    Minutes,
    Name,
    Resource,
    Variable,
    amount,
)
from trainer.errors import nearest
from trainer.sections.base import Section

STEPS = ("check", "prepare", "train", "evaluate", "register", "promote", "report")


class Gpu(Section):
    """Accelerators of a step."""

    type: Resource = "nvidia.com/gpu"
    """The resource's name in the cluster."""
    count: PositiveInt = 1
    """How many; several of one machine train together."""


class Toleration(Section):
    """A taint of nodes that a step does not mind."""

    key: LabelKey
    """The taint's key: `nvidia.com/gpu`."""
    operator: Literal["Equal", "Exists"] = "Exists"
    """Whether its value counts."""
    value: LabelValue | None = None
    """With `Equal`: the value."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """The taint's effect; left out: any."""

    @model_validator(mode="after")
    def _has_the_value_it_counts(self) -> Self:
        if (self.operator == "Equal") != (self.value is not None):
            raise ValueError(f'the taint {self.key!r} needs operator = "Equal" with a value, or "Exists" without one.')
        return self


class Retry(Section):
    """How often a step is tried again, and after what pause. A training goes on from its last checkpoint."""

    times: NonNegativeInt = 5
    """Tries after the first one; a machine that is taken away (preemption) costs one."""
    pause: PositiveInt = 30
    """Seconds before the second try."""
    factor: Annotated[float, Field(ge=1.0)] = 2.0
    """By how much every further pause is longer."""
    longest: PositiveInt = 600
    """Seconds that no pause is longer than."""


class Step(Section):
    """One step's share of the cluster. What is left out is left to the cluster."""

    cpu: Cpu | None = None
    """Processors asked for: `4`, `500m`."""
    cpu_limit: Cpu | None = None
    """Processors at most."""
    memory: Memory | None = None
    """Memory asked for, and the most that may be used: `16Gi`."""
    gpu: Gpu | None = None
    """Accelerators."""
    node_selector: dict[LabelKey, LabelValue] = Field(default={})
    """Labels that the node must have."""
    tolerations: Annotated[tuple[Toleration, ...], Field(strict=False)] = ()
    """Taints that the step does not mind."""
    shared_memory: Memory | None = None
    """Size of /dev/shm, which counts as memory."""
    timeout_minutes: Minutes | None = None
    """A try that takes longer is stopped."""
    retry: Retry | None = None
    """Left out: `train` is tried again 5 times, no other step is."""

    @model_validator(mode="after")
    def _fits_in_itself(self) -> Self:
        if self.cpu and self.cpu_limit and amount(self.cpu) > amount(self.cpu_limit):
            raise ValueError(f"cpu = {self.cpu!r} asks for more than cpu_limit = {self.cpu_limit!r} allows.")
        if self.memory and self.shared_memory and amount(self.shared_memory) > amount(self.memory):
            raise ValueError(
                f"shared_memory = {self.shared_memory!r} counts as memory, and {self.memory!r} is all there is."
            )
        return self


with warnings.catch_warnings():
    # Pydantic finds that `register` hides the metaclass's method of that name, which nobody calls on a section.
    warnings.filterwarnings("ignore", message='Field name "register"')

    class Steps(Section):
        """The steps by their names."""

        check: Step = Step()
        """Asks whether there is anything to do."""
        prepare: Step = Step()
        """Reads and checks the images."""
        train: Step = Step()
        """Trains."""
        evaluate: Step = Step()
        """Scores challenger and champion."""
        register: Step = Step()
        """Makes the model version."""
        promote: Step = Step()
        """Decides."""
        report: Step = Step()
        """Writes the run card, and tells."""


class Secret(Section):
    """A Kubernetes secret that steps are given: as variables, or as a folder of files."""

    secret: Name
    """Its name in the namespace."""
    variables: dict[Variable, Key] = Field(default={})
    """Environment variable to key of the secret: `MLFLOW_TRACKING_PASSWORD = "password"`."""
    mount: Folder | None = None
    """Folder in which every key is a file."""
    steps: Annotated[tuple[str, ...], Field(strict=False, min_length=1)] = STEPS
    """Who is given it; left out: all steps."""
    optional: bool = False
    """Whether a step may start without it."""

    @model_validator(mode="after")
    def _is_used(self) -> Self:
        if bool(self.variables) == (self.mount is not None):
            raise ValueError(f"the secret {self.secret!r} needs either variables or mount.")
        if self.mount is not None and ("." in self.secret or len(self.secret) > 63):
            raise ValueError(
                f"the secret {self.secret!r} cannot be mounted: Kubeflow names the volume after it, and the name of a "
                "volume has no dots and no more than 63 characters."
            )
        for step in self.steps:
            if step not in STEPS:
                raise ValueError(f"the secret {self.secret!r} is for the step {step!r}. {nearest(step, STEPS)}")
        return self
