"""The pictures of a study, whatever its trials came to."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from trainer.card import plots as card_plots
from trainer.tuning import plots
from trainer.tuning.results import OutcomeWord, Tried
from trainer.tuning.space import Metric


def tried(number: int, outcome: OutcomeWord, value: float | None) -> Tried:
    return Tried(
        number=number,
        outcome=outcome,
        value=value,
        epochs=2,
        seconds=None,
        parameters={"model.width": 0.5},
        reason="",
        mlflow_run_id=None,
    )


STUDIES: dict[str, list[Tried]] = {
    "one": [tried(0, "done", 0.9)],
    "all kinds": [
        tried(0, "done", 0.9),
        tried(1, "pruned", 0.1),
        tried(2, "refused", None),
        tried(3, "failed", None),
        tried(4, "done", 0.91),
        tried(5, "done", 0.92),
        tried(6, "running", 0.3),
    ],
    "none done": [tried(0, "pruned", 0.1), tried(1, "failed", None)],
    "nothing at all": [tried(0, "refused", None)],
}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter of the resolution is drawn faster."""
    monkeypatch.setattr(card_plots, "PIXELS_PER_INCH", 48)
    monkeypatch.setattr(plots, "PIXELS_PER_INCH", 48)


def coloured(png: bytes, colour: str) -> int:
    """Pixels of very nearly that colour."""
    wanted = [int(colour[index : index + 2], 16) for index in (1, 3, 5)]
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), dtype=np.int64)
    return int((abs(pixels - wanted) < 12).all(axis=-1).sum())


@pytest.mark.parametrize("metric", ["validation_accuracy", "validation_loss"])
@pytest.mark.parametrize("name", STUDIES)
def test_every_study_can_be_drawn(name: str, metric: Metric) -> None:
    """What was done in one hue, what was stopped or failed in the other, and nothing where there is nothing."""
    trials = STUDIES[name]
    outcomes = {trial.outcome for trial in trials}
    history = plots.history(trials, metric)
    assert (coloured(history, card_plots.PRINT.right) > 0) is ("done" in outcomes)
    assert (coloured(history, card_plots.PRINT.wrong) > 0) is bool(outcomes & {"pruned", "refused", "failed"})
    reported = {trial.number: {1: trial.value, 2: trial.value} if trial.value is not None else {} for trial in trials}
    best = 0 if "done" in outcomes else None
    curves = plots.curves(trials, reported, best, metric)
    assert (coloured(curves, card_plots.PRINT.right) > 0) is (best is not None)


def test_a_picture_of_importance_grows_with_its_keys() -> None:
    """So that every key keeps its line."""
    heights = [
        Image.open(
            io.BytesIO(plots.importance(dict.fromkeys(map(str, range(count)), 1 / count), "validation_loss", 9))
        ).height
        for count in (1, 8)
    ]
    assert heights[1] > 2 * heights[0]
