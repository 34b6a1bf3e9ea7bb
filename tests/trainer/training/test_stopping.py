"""Early stopping, over tables of figures."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from trainer.config import EarlyStopping
from trainer.record import Epoch
from trainer.training.stopping import Best

NAN, INF = math.nan, math.inf


REST = dict.fromkeys(
    ("loss", "accuracy", "validation_loss", "validation_accuracy", "learning_rate", "images_per_second", "seconds"), 0.5
)


def epoch(number: int, **figures: float) -> Epoch:
    return Epoch(epoch=number, **{**REST, **figures})


@pytest.mark.parametrize(
    ("rule", "figures", "better", "stopped_after"),
    [
        ({"patience": 2}, [3, 2, 1], [True, True, True], None),
        ({"patience": 2}, [1, 2, 3, 0], [True, False, False, True], 3),
        ({"patience": 1}, [1, 1], [True, False], 2),
        ({"patience": 2}, [1, 2, 0.5, 2, 2], [True, False, True, False, False], 5),
        ({"patience": 2, "min_delta": 0.5}, [2, 1.5, 1.4, 1.3], [True, False, True, False], None),
        ({"patience": 2}, [NAN, 1, INF], [False, True, False], None),
        ({"patience": 2}, [NAN, NAN], [False, False], 2),
        ({"patience": 1, "metric": "validation_accuracy"}, [0.1, 0.3, 0.2], [True, True, False], 3),
        (
            {"patience": 2, "metric": "validation_accuracy", "min_delta": 0.1},
            [0.5, 0.55, 0.65],
            [True, False, True],
            None,
        ),
    ],
)
def test_patience_counts_epochs_that_are_not_better(
    rule: dict[str, Any], figures: list[float], better: list[bool], stopped_after: int | None
) -> None:
    """Better is by more than `min_delta`; a figure that is no number never is; patience begins anew with the best."""
    best = Best(EarlyStopping(**rule))
    metric = rule.get("metric", "validation_loss")
    found, stopped = [], None
    for number, figure in enumerate(figures, start=1):
        found.append(best.judge(epoch(number, **{metric: figure})))
        stopped = stopped or (number if best.stop else None)
    assert found == better
    assert stopped == stopped_after
    assert best.epoch == (max((i for i, was in enumerate(better, start=1) if was), default=None))


def test_without_a_rule_no_epoch_is_best_and_none_the_last() -> None:
    """The last epoch's weights count then."""
    best = Best(None)
    assert [best.judge(epoch(number, validation_loss=number)) for number in range(1, 50)] == [False] * 49
    assert (best.stop, best.epoch) == (False, None)


@pytest.mark.parametrize("interrupted", range(6))
def test_an_interruption_changes_no_judgement(interrupted: int) -> None:
    """The state goes through JSON, as in a checkpoint, and holds all that was learnt."""
    rule = EarlyStopping(patience=3)
    figures = [5.0, 4.0, 4.5, NAN, 3.0, 3.5]
    whole, stopped = Best(rule), Best(rule)
    for number, figure in enumerate(figures, start=1):
        if number == interrupted:
            text = json.dumps(stopped.state(), allow_nan=False)
            stopped = Best(rule)
            stopped.recall(json.loads(text))
        assert whole.judge(epoch(number, validation_loss=figure)) == stopped.judge(
            epoch(number, validation_loss=figure)
        )
    assert whole.state() == stopped.state()
    assert whole.epoch == 5
