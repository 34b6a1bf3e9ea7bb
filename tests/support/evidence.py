"""What a run record holds beside the bare figures, made from real predictions: intervals, slices, sides, hygiene."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from trainer import record
from trainer.registry.ledger import FileLedger
from trainer.registry.protocol import Entry, Trial
from trainer.scorecard import ClassScore, Interval, Predictions, Scorecard, Slice, score

COLUMNS = {
    "folder": ["archive/2019", "archive/2024-07 (phone, night)", "studio"],
    "size": ["under 64 px", "64–128 px", "128–256 px", "256 px and more"],
    "brightness": ["dark", "medium", "bright"],
}


def around(share: float, count: int) -> Interval:
    half = 1.96 * math.sqrt(max(share * (1 - share), 0.25 / max(count, 1)) / max(count, 1))
    return Interval(low=max(0.0, share - half), high=min(1.0, share + half))


def scored(card: Scorecard, answers: Predictions, seed: int = 0, size: int = 8_437_210) -> Scorecard:
    """A scorecard with everything that A's evaluation adds to it."""
    shares = ("accuracy", "top5_accuracy", "macro_precision", "macro_recall", "macro_f1")
    intervals = {name: around(getattr(card, name), card.examples) for name in shares if getattr(card, name) is not None}
    for name in ("log_loss", "calibration_error"):
        value = getattr(card, name)
        intervals[name] = Interval(low=0.85 * value, high=1.2 * value)
    drawn = np.random.default_rng(seed)
    slices = [Slice(column="class", value=one.name, count=one.count, accuracy=one.recall) for one in card.per_class]
    for column, values in COLUMNS.items():
        of = drawn.integers(0, len(values), card.examples)
        for index, value in enumerate(values):
            right = answers.correct[of == index]
            if len(right):
                mean = float(right.mean())
                slices.append(
                    Slice(
                        column=column, value=value, count=len(right), accuracy=mean, interval=around(mean, len(right))
                    )
                )
    return card.model_copy(
        update={
            "intervals": intervals,
            "slices": slices,
            "size_bytes": size,
            "parameters": size // 4,
            "per_class": [_with_intervals(one) for one in card.per_class],
        }
    )


def _with_intervals(one: ClassScore) -> ClassScore:
    names = ("precision", "recall", "f1")
    return one.model_copy(update={f"{name}_interval": around(getattr(one, name), one.count) for name in names})


def sides(folder: Path, ours: Predictions, theirs: Predictions, classes: Sequence[str], most: int) -> dict[str, Any]:
    """Fields of `Evaluated` about the examples on which exactly one is right, with pictures in the folder."""
    noise = np.random.default_rng(5)
    shown = []
    counts = {}
    for newly_right, mask in ((False, theirs.correct & ~ours.correct), (True, ours.correct & ~theirs.correct)):
        counts["newly_right" if newly_right else "newly_wrong"] = int(mask.sum())
        for index in np.nonzero(mask)[0][:most]:
            file = f"side-{len(shown) + 1:02d}.png"
            pixels = noise.integers(0, 255, (6, 9, 3), dtype=np.uint8)
            Image.fromarray(pixels).resize((144, 96), Image.Resampling.NEAREST).save(folder / file)
            shown.append(
                record.ChangedSide(
                    file=file,
                    truth=classes[int(ours.labels[index])],
                    challenger=classes[int(ours.predicted[index])],
                    champion=classes[int(theirs.predicted[index])],
                    newly_right=newly_right,
                    source=f"archive/2024-07/{index:05d}.jpg",
                )
            )
    return {**counts, "changed_sides": shown}


def hygiene(rival: bool) -> dict[str, Any]:
    """Fields of `Evaluated` about cost and trust."""
    against = {"champion_ms": 11.8, "ratio": 1.046, "ratio_low": 1.01, "ratio_high": 1.09}
    against32 = {"champion_ms": 201.3, "ratio": 0.97, "ratio_low": 0.94, "ratio_high": 1.02}
    return {
        "latency": [
            record.Latency(batch=1, rounds=50, challenger_ms=12.3, **(against if rival else {})),
            record.Latency(batch=32, rounds=20, challenger_ms=195.2, **(against32 if rival else {})),
        ],
        "golden": record.Golden(images=16, difference=3.1e-7, tolerance=1e-3),
        "shared_with_training": 0 if rival else None,
    }


def class_change(ours: Predictions, theirs: Predictions, classes: Sequence[str]) -> record.ClassChange:
    """The challenger's last class is new, its first was renamed, and the champion had one that is gone."""
    common = list(classes[:-1])
    kept = ours.labels < len(common)

    def on_common(answers: Predictions) -> Scorecard:
        probabilities = answers.probabilities[kept][:, : len(common)]
        probabilities = probabilities / probabilities.sum(axis=1, keepdims=True)
        identities = [name for name, one in zip(answers.identities, kept, strict=True) if one]
        return score(Predictions(identities, answers.labels[kept], probabilities), common)

    return record.ClassChange(
        added=[classes[-1]],
        removed=["<gone> & forgotten"],
        renamed={f"old {classes[0]}": classes[0]},
        common=common,
        challenger=on_common(ours),
        champion=on_common(theirs),
    )


NEAR = [
    record.NearDuplicate(train=f"archive/2019/cat/{n:05d}.jpg", test=f"archive/2024-07/cat/{n + 7:05d}.jpg", distance=n)
    for n in range(3)
]

LINEAGE = {
    "git_commit": "4f2c9a1be0d7c35518a2f06b9d1e7734c0ab52de",
    "image_digest": "sha256:9c1d4b7e2f…",
    "kfp_run_id": "c0a8012e-77b1-4f6f-9d20-5a1d1f0b7e11",
    "recipe_file": "configs/digits.toml",
}


def ledger(path: Path, run_key: str, promoted: record.Promoted, test_digest: str, examples: int) -> None:
    """A history of three weeks that ends with this decision."""
    book = FileLedger(path)
    start = datetime.now(UTC) - timedelta(days=21)
    weeks: list[dict[str, Any]] = [
        {"event": "promote", "version": "1", "previous": None, "challenger": "1", "run_key": "a" * 16},
        {"event": "keep", "version": "1", "previous": "1", "challenger": "2", "run_key": "b" * 16, "level": 0.0125},
        {"event": "promote", "version": "3", "previous": "1", "challenger": "3", "run_key": "c" * 16, "level": 0.0109},
    ]
    for number, week in enumerate(weeks, start=1):
        level = week.pop("level", None)
        trial = Trial(test_digest=test_digest, examples=examples, level=level, p_value=0.004) if level else None
        book.append(
            Entry(
                number=number, **week, trial=trial, verdict_digest="d", reason="Accuracy rose.", tick=f"tick-{number}",
                at=start + timedelta(days=7 * number),
            ),
            number - 1,
        )  # fmt: skip
    last = promoted.result == "promoted"
    book.append(
        Entry(
            number=4, event="promote" if last else "keep", version=promoted.champion_after,
            previous=promoted.champion_before, challenger=promoted.version, run_key=run_key,
            verdict_digest=promoted.verdict.digest(), reason=promoted.verdict.reason, tick="tick-4",
            trial=Trial(test_digest=test_digest, examples=examples, level=0.0096, p_value=0.0021),
            at=datetime.now(UTC),
        ),
        3,
    )  # fmt: skip
