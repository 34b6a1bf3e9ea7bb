"""What the step `evaluate` tells the orchestrator's UI."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kfp import dsl

from components.evaluate import evaluate as evaluate_step
from trainer.record import Evaluated
from trainer.scorecard import Predictions, score


@pytest.mark.parametrize(("classes", "drawn"), [(3, 3), (1000, 0)])
def test_the_metadata_of_a_step_stays_small(
    classes: int, drawn: int, digits: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kubeflow Pipelines fails a step with more than 4 MB of it: a confusion matrix of many classes is left out."""
    labels = np.arange(classes, dtype=np.int32)
    answers = np.full((classes, classes), 0.1 / (classes - 1), np.float32)
    answers[labels, labels] = 0.9
    card = score(Predictions([str(label) for label in labels], labels, answers), [f"class {i}" for i in range(classes)])
    evaluated = Evaluated(challenger=card, champion=None, champion_version=None, worst_mistakes=[])
    monkeypatch.setattr("trainer.registry.opened", lambda state, name: (None, None))
    monkeypatch.setattr("trainer.evaluate.evaluate", lambda *given: evaluated)
    metrics, confusion = dsl.Metrics(metadata={}), dsl.ClassificationMetrics(metadata={})
    accuracy = evaluate_step.python_func(
        recipe=digits.recipe().canonical(), fingerprint="f", run_key="k", model_uri="models:/m-1", root=str(tmp_path),
        metrics=metrics, confusion=confusion,
    )  # fmt: skip
    assert accuracy == metrics.metadata["accuracy"] == 1.0
    assert len(confusion.metadata.get("confusionMatrix", {}).get("rows", [])) == drawn
    assert len(json.dumps(confusion.metadata)) < 1_000_000
