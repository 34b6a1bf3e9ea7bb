"""A run record on disk, made by the project's own parts: real predictions scored, judged by the real gate."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import evidence as support
import numpy as np
import pytest
from PIL import Image

from trainer import config, gate, record
from trainer.card import matrix, plots
from trainer.scorecard import Predictions, score
from trainer.state import State

TICK = "tick-1"
RUN_KEY = "0f3c9a5be27d4418"
FINGERPRINT = "5e1f0c77ab93d206"
DIGITS = tuple("0123456789")

RECIPE: dict[str, Any] = {
    "data": {"source": "digits"},
    "model": {"variant": "inception_module", "image_size": 32},
    "train": {
        "epochs": 12,
        "batch_size": 64,
        "optimizer": {"name": "adamw", "learning_rate": 0.001, "weight_decay": 0.0001},
        "schedule": {"name": "one_cycle"},
    },
    "gate": {"threshold": 0.9},
    "registry": {"name": "digits"},
}


def predictions(classes: int, examples: int, skill: float, seed: int) -> Predictions:
    """Softmax answers to one and the same test set; the true class's logit is raised by `skill`."""
    labels = (np.arange(examples) % classes).astype(np.int32)
    logits = np.random.default_rng(seed).normal(0, 1, (examples, classes))
    logits[np.arange(examples), labels] += skill
    odds = np.exp(1.6 * logits)
    probabilities = (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)
    return Predictions([f"{index:064x}" for index in range(examples)], labels, probabilities)


def epochs(count: int) -> list[record.Epoch]:
    """Curves that rise, fall and wobble as a training's do."""
    noise = np.random.default_rng(7).normal(0, 1, (count, 2))
    x = np.arange(count) / max(count - 1, 1)
    return [
        record.Epoch(
            epoch=index + 1,
            loss=float(2.3 * np.exp(-5 * x[index]) + 0.01),
            accuracy=float(0.998 - 0.88 * np.exp(-6 * x[index])),
            validation_loss=float(2.2 * np.exp(-4 * x[index]) + 0.07 + 0.01 * abs(noise[index, 0])),
            validation_accuracy=float(0.975 - 0.86 * np.exp(-6 * x[index]) + 0.003 * noise[index, 1]),
            learning_rate=0.001,
            images_per_second=2150.0,
            seconds=0.5,
        )
        for index in range(count)
    ]


@dataclass(frozen=True)
class Record:
    """Where a record lies, and how to spoil it."""

    state: State
    tick: str = TICK
    run_key: str = RUN_KEY

    @property
    def run(self) -> Path:
        return self.state.run(self.run_key)

    @property
    def data(self) -> Path:
        return self.state.data(FINGERPRINT)

    @property
    def at(self) -> Path:
        return self.state.tick(self.tick)

    def fail(self, step: str, message: str, remedy: str, folder: Path | None = None) -> None:
        failure = record.Failure(
            step=step, message=message, remedy=remedy, traceback="Traceback (most recent call last): …", at=record.now()
        )
        record.write(folder or self.run, failure)


MakeRecord = Callable[..., Record]


@pytest.fixture
def small_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plots at a quarter of their resolution: drawn all the same, in two thirds of the time."""
    monkeypatch.setattr(plots, "PIXELS_PER_INCH", 48)


@pytest.fixture
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """A grey square for every plot: they take most of a card's time, and most tests read words."""
    square = io.BytesIO()
    Image.new("RGB", (48, 48)).save(square, format="PNG")
    for module, name in ((plots, "curves"), (plots, "reliability"), (matrix, "confusion_matrix")):
        monkeypatch.setattr(module, name, lambda *_, **__: square.getvalue())


@pytest.fixture(scope="session")
def build_record() -> MakeRecord:
    """`build` itself, for tests that choose where the record lies."""
    return build


@pytest.fixture
def make_record(tmp_path: Path) -> MakeRecord:
    """A function that writes a run record as the steps would; see `build`."""

    def make(**options: Any) -> Record:
        return build(State.open(tmp_path / "state"), **options)

    return make


def build(
    state: State,
    *,
    classes: Sequence[str] = DIGITS,
    examples: int = 360,
    skill: float = 6.0,
    champion_skill: float | None = None,
    trained_epochs: int = 12,
    mistakes: int = 6,
    decision: record.Decision = "work",
    until: str = "promote",
    rejected: Sequence[tuple[str, str]] = (),
    evidence: bool = False,
    new_class: bool = False,
) -> Record:
    """Write the documents of one run.

    Args:
        state: where.
        classes: their names.
        examples: in the test split.
        skill, champion_skill: how good the two models are; no champion where its skill is None.
        trained_epochs: length of the curves.
        mistakes: most pictures of mistakes.
        decision: what `check` said.
        until: the last step that left its document.
        rejected: path and reason of images that were left out.
        evidence: with intervals, slices, sides, costs, hygiene, lineage and a ledger.
        new_class: the champion does not know the last class.
    """
    made = Record(state)
    recipe = config.Recipe.model_validate(RECIPE)
    started = record.now() - timedelta(seconds=95)
    checked = record.Checked(
        decision=decision,
        reason="Nothing changed: …" if decision == "skip" else "Work to do: there is no version of this model yet.",
        run_key=made.run_key,
        fingerprint=FINGERPRINT,
        config_digest=recipe.digest()[:16],
        code_digest="b81d22f04c6e9a17",
        recipe=recipe.canonical(),
        source={"address": "scikit-learn digits", "files": 1, "bytes": 57523},
        at=started,
    )
    record.write(made.at, checked)
    record.write(made.run, checked)

    share = max(1, examples // len(classes))
    prepared = record.Prepared(
        fingerprint=checked.fingerprint,
        path=str(state.data(checked.fingerprint)),
        classes=list(classes),
        counts={split: [share * part] * len(classes) for split, part in (("train", 4), ("validation", 1), ("test", 1))},
        identity_digests={"train": "aa", "validation": "bb", "test": "cc"},
        rejected=[record.Rejected(path=path, reason=reason) for path, reason in rejected],
        rejected_total=len(rejected),
        seconds=2.0,
    )
    trained = record.Trained(
        model_uri="models:/m-77aa1dd0f6d94b6e9e0c5cb1f4f9b2f3",
        mlflow_run_id="3b7d2f9e2c0b4d1c8a55d0f6f1a2c3e4",
        experiment_id="1",
        variant="inception_module",
        image_size=32,
        parameters=2_106_250,
        training_parameters=2_106_250,
        epochs=epochs(trained_epochs),
        precision="mixed_bfloat16",
        device="CPU (x86_64)",
        seconds=71.4,
        resumed_from_epoch=None,
        versions={"python": "3.11.9", "tensorflow": "2.21.0", "keras": "3.15.1"},
    )
    answers = predictions(len(classes), examples, skill, seed=1)
    challenger = score(answers, classes, file="challenger.npz")
    champion, rival, theirs = None, None, None
    if champion_skill is not None:
        theirs = predictions(len(classes), examples, champion_skill, seed=2)
        champion = score(theirs, classes, file="champion.npz")
        rival = gate.Candidate.of(champion, theirs)
    evaluated = record.Evaluated(
        challenger=challenger,
        champion=champion,
        champion_version="3" if champion else None,
        worst_mistakes=_pictures(made.run, answers, classes, mistakes),
    )
    registered = record.Registered(name="digits", version="4", created=True)
    if evidence:
        evaluated = _with_evidence(made.run, evaluated, answers, theirs, mistakes)
        prepared = prepared.model_copy(update={"near_duplicates": support.NEAR, "near_duplicates_total": 3})
        registered = registered.model_copy(update={"lineage": support.LINEAGE})
    if new_class and theirs is not None:
        change = support.class_change(answers, theirs, classes)
        evaluated = evaluated.model_copy(update={"champion": None, "class_change": change})
    verdict = gate.decide(gate.Candidate.of(challenger, answers), rival, recipe.gate)
    before = "3" if champion else None
    promoted = record.Promoted(
        result={"promote": "promoted", "keep": "kept", "undecided": "undecided"}[verdict.outcome],
        verdict=verdict,
        version="4",
        champion_before=before,
        champion_after="4" if verdict.outcome == "promote" else before,
        ledger_entry=4 if evidence else 2 if verdict.outcome == "promote" else None,
        at=record.now(),
    )
    if evidence and until == "promote":
        support.ledger(state.ledger("digits"), RUN_KEY, promoted, challenger.test_digest, challenger.examples)
    documents: dict[str, record.Document] = {
        "check": checked,
        "prepare": prepared,
        "train": trained,
        "evaluate": evaluated,
        "register": registered,
        "promote": promoted,
    }
    if decision == "work":
        for step, document in documents.items():
            record.write(made.data if step == "prepare" else made.run, document)
            if step == until:
                break
    return made


def _with_evidence(
    folder: Path, evaluated: record.Evaluated, ours: Predictions, theirs: Predictions | None, most: int
) -> record.Evaluated:
    found: dict[str, Any] = {"challenger": support.scored(evaluated.challenger, ours)}
    found |= support.hygiene(rival=theirs is not None)
    if evaluated.champion is not None and theirs is not None:
        found["champion"] = support.scored(evaluated.champion, theirs, size=8_011_002)
        found |= support.sides(folder, ours, theirs, evaluated.challenger.classes, most)
    return evaluated.model_copy(update=found)


def _pictures(folder: Path, answers: Predictions, classes: Sequence[str], most: int) -> list[str]:
    """Files as `evaluate` leaves them: pictures, and captions beside them."""
    noise = np.random.default_rng(3)
    captions = []
    for rank, index in enumerate(np.nonzero(~answers.correct)[0][:most], start=1):
        file = f"mistake-{rank:02d}.png"
        small = noise.integers(0, 255, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(small).resize((128, 128), Image.Resampling.NEAREST).save(folder / file)
        guess = int(answers.predicted[index])
        captions.append(
            {
                "file": file,
                "truth": classes[int(answers.labels[index])],
                "predicted": classes[guess],
                "probability": round(float(answers.probabilities[index, guess]), 4),
                "source": f"digits/{index:04d}",
            }
        )
    (folder / "mistakes.json").write_text(json.dumps(captions))
    return [caption["file"] for caption in captions]
