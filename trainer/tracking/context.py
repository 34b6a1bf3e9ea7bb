"""What MLflow says of its own accord of the process that makes a run."""

from __future__ import annotations

from collections.abc import Mapping

from trainer.errors import without_secrets


def resolved_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Tags, and those of MLflow's context: who, by which program, from which checkout.

    The address of the checkout's remote may have a token in it, as hosts of repositories hand them out.
    """
    from mlflow.tracking.context import registry

    return {key: without_secrets(str(value)) for key, value in registry.resolve_tags(dict(tags)).items()}
