"""What a step's pod can hold only once: volumes, mounted folders, variables.

Kubernetes refuses a pod with two volumes of one name or two volumes in one folder, and of two variables of one name
lets the last one hold. Kubeflow names a volume after its claim or secret, and puts volumes of its own beside them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from trainer.lineage import IMAGE_VARIABLE

if TYPE_CHECKING:
    from pipelines.environments import Environment

STATE_VOLUME = "inception-state-folder"
SHARED_MEMORY = "shm"
SHARED_MEMORY_FOLDER = "/dev/shm"
_LAUNCHER = {
    "kfp-launcher": "/kfp-launcher",
    "gcs-scratch": "/gcs",
    "s3-scratch": "/s3",
    "minio-scratch": "/minio",
    "dot-local-scratch": "/.local",
    "dot-cache-scratch": "/.cache",
    "dot-config-scratch": "/.config",
}
"""Volumes that Kubeflow's launcher brings into every pod, and where."""


def twice(environment: Environment, step: str) -> str | None:
    """What the step would be given twice, in words; None where that is nothing."""
    given = [one for one in environment.secrets if step in one.steps]
    mounted = [(one.secret, one.mount) for one in given if one.mount is not None]
    volumes = [*_LAUNCHER.items(), (environment.state.claim or STATE_VOLUME, environment.state.mount), *mounted]
    if getattr(environment.steps, step).shared_memory is not None:
        volumes.append((SHARED_MEMORY, SHARED_MEMORY_FOLDER))
    variables = [
        IMAGE_VARIABLE,
        *environment.addresses,
        *environment.variables,
        *(variable for one in given for variable in one.variables),
    ]
    kinds = {
        "the volume": (name for name, _ in volumes),
        "the folder": (folder.rstrip("/") for _, folder in volumes),
        "the variable": variables,
    }
    for kind, names in kinds.items():
        found = _first_twice(names)
        if found is not None:
            return f"{kind} {found!r}"
    return None


def _first_twice(names: Iterable[str]) -> str | None:
    return next((name for name, count in Counter(names).items() if count > 1), None)
