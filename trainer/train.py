"""The verb `train`: the chosen variant, from the recipe, on a prepared dataset; the model goes to MLflow.

Reads top to bottom. Whatever kills it, the next call with the same run key goes on from the last whole checkpoint and
sees the same batches, the same augmentation and the same dropout that an uninterrupted training would have seen.
"""

from __future__ import annotations

import math
import platform
import time
from importlib.metadata import version
from typing import Any

from filelock import FileLock

from trainer import record, tracking, weights
from trainer.config import Recipe
from trainer.errors import TrainingError
from trainer.events import emit, note
from trainer.state import State, write_atomically

SERVING_PACKAGES = ("tensorflow", "keras", "numpy")
_LOOK_EVERY_SECONDS = 0.5


def train(recipe: Recipe, fingerprint: str, run_key: str, state: State) -> record.Trained:
    """Train and log the model.

    Args:
        recipe: what to train, and how.
        fingerprint: names the prepared dataset in the state folder.
        run_key: names the work; its checkpoints and its run record go by it.
        state: the state folder.

    Returns what `record.Trained` holds; at once where this run key was trained to the end before.
    Errors: TrainingError (diverged, checkpoint of another network), DataError, StateError, RegistryError.
    """
    folder = state.run(run_key)
    folder.mkdir(parents=True, exist_ok=True)
    # Two runs of the same work at once: the second waits, then finds the work done.
    with FileLock(folder / "train.lock"):
        done = record.find(folder, record.Trained)
        if done is not None:
            note(f"trained already: {done.model_uri}")
            return done
        with tracking.open_run(state, recipe.registry.name, run_key, f"{recipe.model.variant}-{run_key[:8]}") as run:
            trained = _train(recipe, fingerprint, run_key, state, run)
        record.write(folder, trained)
        _checkpoints(state, run_key).clear()
        return trained


def _train(recipe: Recipe, fingerprint: str, run_key: str, state: State, run: tracking.Run) -> record.Trained:
    import keras
    import tensorflow as tf

    from trainer.card import plots
    from trainer.data.feed import Feed, ordered
    from trainer.data.prepared import open_prepared
    from trainer.models import classifier, zoo
    from trainer.training import precision
    from trainer.training.checkpoints import Position
    from trainer.training.learner import Learner
    from trainer.training.phases import freeze, phases

    settings = recipe.train
    folder = state.run(run_key)

    # ---------------------------------------------------------------- device
    gpus = tf.config.list_physical_devices("GPU")
    capabilities = [tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0)) for gpu in gpus]
    chosen = precision.choose(settings.precision, capabilities, precision.cpu_flags())
    keras.mixed_precision.set_dtype_policy(chosen.policy)
    keras.utils.set_random_seed(settings.seed)
    device = f"{len(gpus)} GPU" if gpus else f"CPU ({platform.machine()})"
    note(f"training on {device} in {chosen.policy}: {chosen.why}")

    # ---------------------------------------------------------------- data
    dataset = open_prepared(state.data(fingerprint))
    classes = dataset.manifest.classes
    options = zoo.resolve(recipe.model)
    examples, held_out = dataset.split("train"), dataset.split("validation")
    feed = Feed(
        examples, settings.batch_size, settings.seed, settings.augment, options.image_size, recipe.resources.workers
    )
    judged = ordered(held_out, recipe.evaluate.batch_size, options.image_size)

    # ---------------------------------------------------------------- network
    model = classifier.for_training(recipe.model, len(classes), feed.shape)
    network = model.get_layer(options.variant)
    steps, total = feed.steps_per_epoch, feed.steps_per_epoch * settings.epochs
    plan = phases(recipe, network, steps)
    run.log_params({"recipe": recipe.model_dump(mode="json", exclude_none=True), "precision": chosen.policy})
    note(
        f"{recipe.model.variant}: {model.count_params():,} parameters; {len(examples):,} images, "
        f"{steps} steps of {settings.batch_size} an epoch, {settings.epochs} epochs"
    )

    # ---------------------------------------------------------------- resume
    # 1. the newest whole checkpoint, or the one before it; without any, published weights where the recipe names them
    # 2. curves and clock
    # 3. weights, batch statistics and dropout state; the optimiser's too, unless its phase ended there
    # 4. the feed, from the step after
    checkpoints = _checkpoints(state, run_key)
    found = checkpoints.latest()
    if found is None and recipe.model.init is not None:
        begun = weights.load(network, options, recipe.model.init, len(classes), state.cache)
        run.set_tags({"init": begun.source, "init_sha256": begun.sha256})
        note(f"begun with {begun}")
    curves: list[record.Epoch] = []
    begin, clock, epoch_clock = 0, 0.0, 0.0
    if found is not None:
        curves, begin = found.curves, found.position.step
        clock, epoch_clock = found.position.seconds, found.position.epoch_seconds
        note(f"resuming at epoch {begin // steps + 1}, step {begin % steps + 1} of {steps}")

    # ---------------------------------------------------------------- loop
    for phase in plan:
        first = max(begin, phase.first_step)
        if first >= phase.last_step:
            continue  # an earlier sitting did it
        freeze(network, phase.frozen)
        learner = Learner(model, settings, len(classes))
        if found is not None and phase.first_step <= begin:
            learner.restore(found.arrays, weights_only=begin == phase.first_step)
        if len(plan) > 1:
            note(f"{phase.name}: {_moving(model):,} parameters move")
        looked = saved = lap = time.monotonic()
        for step, (images, labels) in enumerate(feed.batches(first, phase.last_step), start=first):
            learner.step(images, labels, phase.rate(step))
            now = time.monotonic()
            at_end = (step + 1) % steps == 0
            if not at_end and now - looked < _LOOK_EVERY_SECONDS:
                continue
            looked = now
            score = learner.score()
            if not math.isfinite(score.loss):
                raise _diverged(step, steps, phase.rate(step), score.loss)
            clock, epoch_clock, lap = clock + now - lap, epoch_clock + now - lap, now
            speed = score.examples / epoch_clock
            emit(
                "progress",
                step="train",
                done=step + 1,
                total=total,
                unit="steps",
                epoch=step // steps + 1,
                epochs=settings.epochs,
                loss=score.loss,
                accuracy=score.accuracy,
                images_per_second=speed,
                seconds_left=(total - step - 1) * settings.batch_size / speed,
            )
            if at_end:
                held = learner.validate(judged)
                epoch = record.Epoch(
                    epoch=step // steps + 1,
                    phase=phase.name,
                    loss=score.loss,
                    accuracy=score.accuracy,
                    validation_loss=held.loss,
                    validation_accuracy=held.accuracy,
                    learning_rate=phase.rate(step),
                    images_per_second=speed,
                    seconds=epoch_clock,
                )
                if not math.isfinite(held.loss):
                    raise _diverged(step, steps, phase.rate(step), held.loss)
                curves.append(epoch)
                learner.reset()
                epoch_clock = 0.0
                run.log_metrics(epoch.model_dump(exclude={"epoch", "phase"}), step=epoch.epoch)
                emit("epoch", _in_words(epoch, settings.epochs, total, step, clock), **epoch.model_dump())
            if step + 1 < total and (at_end or now - saved >= settings.checkpoint_minutes * 60):
                checkpoints.save(Position(step + 1, clock, epoch_clock), curves, learner.state())
                saved = time.monotonic()
            if at_end:
                lap = time.monotonic()  # validation and checkpoint are not training time

    # ---------------------------------------------------------------- export
    served = classifier.for_serving(model, recipe.model, len(classes))
    versions = {name: version(name) for name in (*SERVING_PACKAGES, "mlflow")}
    uri = run.log_model(
        served,
        _signature(len(classes)),
        _example_batch(dataset.split("test")),
        [f"{name}=={versions[name]}" for name in SERVING_PACKAGES],
        {"classes": classes, "run_key": run_key, "fingerprint": fingerprint, "variant": recipe.model.variant},
    )
    write_atomically(folder / "curves.png", plots.curves(curves))
    write_atomically(folder / "recipe.json", recipe.canonical())
    tracking.log_files(state, run.run_id, [folder / "curves.png", folder / "recipe.json"], "training")
    run.set_tags({"fingerprint": fingerprint, "model_uri": uri})
    return record.Trained(
        model_uri=uri,
        mlflow_run_id=run.run_id,
        experiment_id=run.experiment_id,
        variant=recipe.model.variant,
        image_size=options.image_size,
        parameters=served.count_params(),
        training_parameters=model.count_params(),
        epochs=curves,
        precision=chosen.policy,
        device=device,
        seconds=clock,
        resumed_from_epoch=begin // steps + 1 if found is not None else None,
        versions=versions | {"python": platform.python_version()},
    )


def _checkpoints(state: State, run_key: str) -> Any:
    from trainer.training.checkpoints import Checkpoints

    return Checkpoints(state.checkpoints(run_key))


def _moving(model: Any) -> int:
    return sum(math.prod(variable.shape) for variable in model.trainable_variables)


def _diverged(step: int, steps: int, rate: float, loss: float) -> TrainingError:
    return TrainingError(
        f"The training diverged: the loss is {loss} at epoch {step // steps + 1}, step {step % steps + 1} of {steps}, "
        f"at a learning rate of {rate:.3g}.",
        "Lower train.optimizer.learning_rate, or set train.clip_norm; the checkpoints before it are sound.",
    )


def _in_words(epoch: record.Epoch, epochs: int, total: int, step: int, clock: float) -> str:
    left = clock / (step + 1) * (total - step - 1)
    return (
        f"epoch {epoch.epoch}/{epochs}  loss {epoch.loss:.4f}  accuracy {epoch.accuracy:.4f}  "
        f"validation {epoch.validation_loss:.4f} {epoch.validation_accuracy:.4f}  "
        f"{epoch.images_per_second:,.0f} images/s  {left / 60:.1f} min left"
    )


def _signature(classes: int) -> Any:
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    images = TensorSpec(np.dtype("uint8"), (-1, -1, -1, 3))
    probabilities = TensorSpec(np.dtype("float32"), (-1, classes))
    return ModelSignature(inputs=Schema([images]), outputs=Schema([probabilities]))


def _example_batch(split: Any) -> Any:
    """One real image, shape (1, height, width, 3): the model's documented input example."""
    return split.image(0)[None]
