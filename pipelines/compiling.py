"""The pipeline as what Kubeflow takes: compiled, and readable as data."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import yaml


def compiled_text() -> str:
    """The pipeline as KFP YAML."""
    from kfp import compiler

    from pipelines.retrain import retrain

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "retrain.yaml"
        compiler.Compiler().compile(retrain, str(file))
        return file.read_text(encoding="utf-8")


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
