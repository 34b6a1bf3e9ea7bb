"""`[state]`, `[store]` and `[run]`: where things are kept, and what holds for every run."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, PositiveInt

from pipelines.environments.names import Address, Folder, Hours, Inner, Label, LabelKey, LabelValue, Memory, Name
from trainer.sections.base import Section

STEP_LABEL = "inception-step"


def _not_ours(labels: dict[str, str]) -> dict[str, str]:
    if STEP_LABEL in labels:
        raise ValueError(f"every pod has the label {STEP_LABEL} already: it names the step.")
    return labels


class StateVolume(Section):
    """The state folder of the steps."""

    claim: Label | None = None
    """Persistent volume claim that holds it, mounted into every step. Steps may run on several nodes: ReadWriteMany.
    Left out: a folder of every step's own, which is filled from `[store] state`."""
    mount: Folder = "/inception"
    """Where it is: the pipeline's `root`."""
    sub_path: Inner = ""
    """Folder of the claim's volume; left out: the whole volume."""
    size: Memory | None = None
    """Without a claim: what the folder of a step may hold at most, images and checkpoints among it: `50Gi`."""


class Store(Section):
    """Addresses of what lies outside the state folder; left out: inside it."""

    state: Address | None = None
    """What steps and runs share, where they share no volume: `gs://bucket/prefix`."""
    mlflow: Address | None = None
    """MLflow server: `https://mlflow.example.com`."""
    mlflow_plugin: bool = False
    """Kubeflow's own MLflow integration tells the steps where MLflow is: they are not told a second time, and `mlflow`
    says it to whoever follows a run from outside."""
    ledgers: Address | Folder | None = None
    """Promotion ledgers: `gs://bucket/prefix`. Runs of several state folders that promote the same model share them."""
    checkpoints: Address | Folder | None = None
    """Checkpoints of training under way, where the recipe names no place of its own: `gs://bucket/prefix`."""
    pipeline_root: Address | None = None
    """Where Kubeflow puts what steps hand over and the UI draws: `gs://bucket/prefix`; left out: the server's own."""


class Run(Section):
    """What holds for every run."""

    service_account: Name | None = None
    """Kubernetes service account of the steps; left out: the server's default."""
    user: PositiveInt | None = None
    """User id of the steps, which are told not to run as root: pod security `restricted` asks for it. 1000 is the
    images' own. Servers older than 2.17 do not know it: leave it out there."""
    keep_hours: Hours | None = None
    """How long a finished run's pods stay; left out: until somebody removes them."""
    deadline_hours: Hours | None = None
    """A run that takes longer is stopped."""
    labels: Annotated[dict[LabelKey, LabelValue], AfterValidator(_not_ours)] = Field(default={})
    """Labels of every pod."""
