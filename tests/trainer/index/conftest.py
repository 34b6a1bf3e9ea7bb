"""A state folder with a history, written as the steps and the report leave it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from trainer import config, record
from trainer.gate import Rule, Verdict
from trainer.registry.ledger import FileLedger
from trainer.registry.protocol import Entry
from trainer.scorecard import Interval
from trainer.state import State

START = datetime(2026, 3, 1, 6, 0, tzinfo=UTC)


class History:
    """Runs of one state folder, one after the other."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.entries: dict[str, int] = {}
        self.holder: dict[str, str] = {}

    def run(
        self,
        number: int,
        result: record.Result,
        accuracy: float | None = None,
        *,
        model: str = "flowers",
        variant: str = "inception_v3",
        change: float | None = None,
        test: str = "t1",
        reason: str = "",
        card: bool = True,
        old: bool = False,
        **changes: Any,
    ) -> str:
        """Write the documents of one run, the `number`-th week's. Returns its run key.

        `old`: as a version wrote it that had no interval, change and time in its outcomes.
        """
        tick, run_key, at = f"{model}-{number:05d}", f"{number:016x}", START + timedelta(days=7 * number)
        folder = self.state.run(run_key)
        recipe = config.Recipe.model_validate(
            {
                "data": {"source": "digits"},
                "model": {"variant": "inception_module", "image_size": 32},
                "train": {"epochs": 1, "batch_size": 8, "optimizer": {"name": "adamw", "learning_rate": 0.001}},
                "gate": {"threshold": 0.5},
                "registry": {"name": model},
            }
        )
        checked = record.Checked(
            decision="skip" if result == "skipped" else "work", reason="", run_key=run_key, fingerprint=f"f{number}",
            config_digest="c", code_digest="d", recipe=recipe.canonical(), source={}, at=at - timedelta(minutes=9),
        )  # fmt: skip
        record.write(self.state.tick(tick), checked)
        if result != "skipped":
            self._work(checked, folder, accuracy, change, variant, test, card)
        fields: dict[str, Any] = {"accuracy_interval": None, "change": None, "at": None}
        if not old:
            around = Interval(low=accuracy - 0.01, high=accuracy + 0.008) if accuracy else None
            fields = {"accuracy_interval": around, "change": change, "at": at}
        before = self.holder.get(model)
        if result == "promoted":
            self.append(model, "promote", str(number), at, reason, run_key=run_key)
        outcome = record.Outcome(
            tick=tick,
            result=result,
            reason=reason or f"{result} for a reason.",
            model=model,
            version=None if result == "failed" else str(number),
            accuracy=accuracy,
            champion=self.holder.get(model, before),
            run_key=run_key,
            fingerprint=checked.fingerprint,
            mlflow_run_id=None,
            card=str(folder / "card.html") if card and result != "skipped" else None,
            failed_step="train" if result == "failed" else None,
            remedy="",
            seconds=300.0,
            **(fields | changes),
        )
        record.write(self.state.tick(tick), outcome)
        return run_key

    def _work(
        self, checked: record.Checked, folder: Path, accuracy: float | None, change: float | None, variant: str,
        test: str, card: bool,
    ) -> None:  # fmt: skip
        record.write(folder, checked)
        record.write(
            self.state.data(checked.fingerprint),
            record.Prepared(
                fingerprint=checked.fingerprint, path="", classes=["a", "b"],
                counts={"train": [4000, 4000], "validation": [500, 500], "test": [500, 500]},
                identity_digests={"test": test}, rejected=[], rejected_total=0, seconds=1.0,
            ),
        )  # fmt: skip
        if card:
            (folder / "card.html").write_text("<!doctype html><title>a card</title>")
        if accuracy is None:
            return
        record.write(
            folder,
            record.Trained(
                model_uri="m", mlflow_run_id="r", experiment_id="1", variant=variant, image_size=32, parameters=1,
                training_parameters=1, epochs=[], precision="float32", device="CPU", seconds=754.0,
                resumed_from_epoch=None, versions={},
            ),
        )  # fmt: skip
        improvement = Rule(name="improvement", figure=change, limit=0.0, outcome="pass", explanation="")
        record.write(
            folder,
            record.Promoted(
                result="kept", verdict=Verdict(outcome="keep", reason="", rules=[improvement]), version="1",
                champion_before=None, champion_after=None, ledger_entry=None, at=checked.at,
            ),
        )  # fmt: skip

    def append(self, model: str, event: Any, version: str | None, at: datetime, reason: str, **fields: Any) -> None:
        number = self.entries.get(model, 0) + 1
        entry = Entry(
            number=number, event=event, version=version, previous=self.holder.get(model), verdict_digest=None,
            reason=reason or "Accuracy rose.", tick=None, at=at, **({"run_key": None} | fields),
        )  # fmt: skip
        FileLedger(self.state.ledger(model)).append(entry, number - 1)
        self.entries[model] = number
        if version is not None:
            self.holder[model] = version
        else:
            self.holder.pop(model, None)


@pytest.fixture
def history(state: State) -> History:
    return History(state)


@pytest.fixture
def year(history: History) -> History:
    """Two models; one with champions of several weeks, a rollback by hand, other test images, a failure and skips."""
    return fill(history)


def fill(history: History) -> History:
    long = "Accuracy 0.9410 is above the champion's 0.9355, and the gain is significant: right where the champion is " \
        "wrong on 127 test examples, the reverse on 24 (p = 2e-18, level 0.05)."  # fmt: skip
    history.run(1, "promoted", 0.881, reason="Accuracy 0.8810 meets the threshold, and there is no champion yet.")
    history.run(2, "kept", 0.874, change=-0.007, reason="Accuracy 0.8740 is below the champion's 0.8810.")
    for week in range(3, 9):
        history.run(week, "skipped", 0.874, reason="Nothing changed.")
    history.run(9, "promoted", 0.917, change=0.036, reason=long)
    history.run(10, "failed", reason="The loss became NaN in epoch 3, step 120.")
    history.run(11, "promoted", 0.941, change=0.024, reason=long)
    history.append("flowers", "rollback", "9", START + timedelta(days=80), "Bad on the night shift.", actor="ana@host")
    history.run(13, "promoted", 0.933, change=0.016, test="t2", reason=long, variant="inception_resnet_v2")
    history.run(14, "undecided", 0.936, change=0.003, test="t2", reason="That may be chance.")
    history.run(15, "promoted", 0.972, model="digits", reason="Accuracy 0.9720 meets the threshold.", old=True)
    return history
