"""How long challenger and champion take, measured in alternation in one process, so that what slows the machine down
slows both."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from trainer.events import note
from trainer.judging.registered_model import RegisteredModel
from trainer.record import Latency

BATCHES = (1, 32)
BUDGET = 0.4
"""Seconds of measuring per batch size, as far as the fewest rounds allow it."""
FEWEST, MOST = 5, 50
"""Rounds."""
PATIENCE = 120.0
"""Seconds beyond which a batch size is left out: 32 images of 144 crops each may take an hour on a processor."""


def measure(challenger: RegisteredModel, champion: RegisteredModel | None, image: NDArray[np.uint8]) -> list[Latency]:
    """Time both models on batches of an image, (height, width, 3)."""
    models = [challenger] if champion is None else [challenger, champion]
    measured: list[Latency] = []
    for batch in BATCHES:
        per_image = sum((one.challenger_ms + (one.champion_ms or 0.0)) / one.batch for one in measured[:1])
        if per_image * batch * (FEWEST + 2) > 1000 * PATIENCE:
            note(f"the models are too slow for {batch} images at once to be timed")
            continue
        measured.append(_measure(models, np.repeat(image[None], batch, axis=0)))
    return measured


def _measure(models: list[RegisteredModel], images: NDArray[np.uint8]) -> Latency:
    for model in models:
        _milliseconds(model, images)  # the first call of a shape plans and allocates
    first = sum(_milliseconds(model, images) for model in models)
    rounds = int(np.clip(1000 * BUDGET / first, FEWEST, MOST))
    times = np.empty((rounds, len(models)))
    places = range(len(models))
    for number in range(rounds):
        # Whoever comes second finds other caches: the two take turns at that too.
        for place in places if number % 2 == 0 else reversed(places):
            times[number, place] = _milliseconds(models[place], images)
    challenger_ms, *champion_ms = np.median(times, axis=0).tolist()
    if not champion_ms:
        return Latency(batch=len(images), rounds=rounds, challenger_ms=challenger_ms)
    low, middle, high = np.quantile(times[:, 0] / times[:, 1], [0.25, 0.5, 0.75]).tolist()
    return Latency(
        batch=len(images),
        rounds=rounds,
        challenger_ms=challenger_ms,
        champion_ms=champion_ms[0],
        ratio=middle,
        ratio_low=low,
        ratio_high=high,
    )


def _milliseconds(model: RegisteredModel, images: NDArray[np.uint8]) -> float:
    """For all of the images, in as many portions as the model's views ask for."""
    portion = max(1, len(images) // model.views_at_once)
    started = time.perf_counter()
    for start in range(0, len(images), portion):
        model.answer(images[start : start + portion])
    return 1000 * (time.perf_counter() - started)
