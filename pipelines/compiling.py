"""The pipeline as what Kubeflow takes: compiled, and readable as data."""

from __future__ import annotations

import hashlib
import json
import tempfile
import warnings
from pathlib import Path
from typing import Any

import yaml

from pipelines.environments import Environment
from trainer.config import Recipe


def compiled_text(
    recipe: Recipe | None = None, environment: Environment | None = None, allow_tags: bool = False
) -> str:
    """The pipeline as KFP YAML; equal input gives equal bytes.

    Args:
        recipe: what the form's field `recipe` begins with; None leaves it empty and required.
        environment: where it is to run; None gives the pipeline as it runs on one machine, for no cluster at all.
        allow_tags: take images without a digest.

    Errors: RecipeError (an image is missing or has no digest).
    """
    from kfp import compiler

    defaults = {}
    if environment is None:
        from pipelines.retrain import retrain as pipeline
    else:
        from pipelines.fitting import fitted

        pipeline = fitted(environment, allow_tags)
        defaults["root"] = environment.state.mount
    if recipe is not None:
        defaults["recipe"] = asked(recipe, environment)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # A display name beside the name is what is wanted.
        warnings.filterwarnings("ignore", category=FutureWarning)
        file = Path(folder) / "retrain.yaml"
        compiler.Compiler().compile(pipeline, str(file), pipeline_parameters=defaults)
        return file.read_text(encoding="utf-8")


def asked(recipe: Recipe, environment: Environment | None = None) -> str:
    """A recipe as the text of a form's field: JSON of what its author wrote, defaults left out.

    The form has a field of one line: JSON survives what that does to line breaks, TOML does not.
    """
    if environment is not None and environment.store.checkpoints is not None and recipe.resources.checkpoints is None:
        resources = recipe.resources.model_copy(update={"checkpoints": environment.store.checkpoints})
        recipe = recipe.model_copy(update={"resources": resources})
    return json.dumps(recipe.model_dump(mode="json", exclude_unset=True), ensure_ascii=False)


def digest(text: str) -> str:
    """Identity of a compiled pipeline."""
    return hashlib.sha256(text.encode()).hexdigest()


def compiled() -> dict[str, Any]:
    """The pipeline as data."""
    spec: dict[str, Any] = yaml.safe_load(compiled_text())
    return spec


def tasks(spec: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Every task that runs something, by name, wherever in the pipeline it stands."""
    dags = [spec["root"]["dag"], *(c["dag"] for c in spec["components"].values() if "dag" in c)]
    return {
        name: task
        for dag in dags
        for name, task in dag["tasks"].items()
        if "executorLabel" in spec["components"][task["componentRef"]["name"]]
    }
