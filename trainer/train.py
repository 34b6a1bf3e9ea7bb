"""The verb `train`: the chosen variant, from the recipe, on a prepared dataset; the model goes to MLflow.

Reads top to bottom. Whatever kills it, the next call with the same run key goes on from the last whole checkpoint and
sees the same batches, the same augmentation and the same dropout that an uninterrupted training would have seen.
"""

from __future__ import annotations

import platform
from contextlib import nullcontext
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from trainer import lineage, record, sharing, tracking, weights
from trainer.config import Recipe
from trainer.events import note
from trainer.state import State, write_atomically

if TYPE_CHECKING:
    import keras

    from trainer.training.fitting import Begin

SERVING_PACKAGES = ("tensorflow", "keras", "numpy")


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
    # Two runs of the same work at once, here or elsewhere: the second waits, then finds the work done.
    with FileLock(folder / "train.lock"), sharing.only_one(state, folder, "training") as confirm:
        done = record.find(folder, record.Trained)
        if done is not None:
            note(f"trained already: {done.model_uri}")
            _forget_checkpoints(recipe, fingerprint, run_key, state)  # an earlier try may have died before it did
            return done
        name = f"{recipe.model.variant}-{run_key[:8]}"
        watched = recipe.resources.system_metrics
        with tracking.open_run(state, recipe.registry.name, run_key, name, system_metrics=watched) as run:
            trained = _train(recipe, fingerprint, run_key, state, run)
        confirm()
        record.write(folder, trained)
        sharing.push(state)  # before the checkpoints go: a killed step is done again from what is there
        _forget_checkpoints(recipe, fingerprint, run_key, state)
        return trained


def _train(recipe: Recipe, fingerprint: str, run_key: str, state: State, run: tracking.Run) -> record.Trained:
    import keras

    from trainer.card import plots
    from trainer.judging import golden, hygiene, training_files
    from trainer.models import classifier, enlargement, views, zoo
    from trainer.training import checkpoints, devices, precision
    from trainer.training.boards import Boards
    from trainer.training.fitting import Fitted, Fitting
    from trainer.training.live_view import LiveView

    settings = recipe.train
    folder = state.run(run_key)

    # ---------------------------------------------------------------- device
    found = devices.find()
    found.check(settings)
    chosen = precision.choose(settings.precision, found.capabilities, precision.cpu_flags())
    keras.mixed_precision.set_dtype_policy(chosen.policy)
    note(f"training on {found} in {chosen.policy}: {chosen.why}")

    # ---------------------------------------------------------------- data
    dataset = sharing.opened_dataset(state, fingerprint)
    classes = dataset.manifest.classes
    unfitting = enlargement.mismatch(recipe.model, enlargement.typical_shape(dataset.split("train")))
    if unfitting is not None:
        note(f"warning: {unfitting}")
    run.log_params({"recipe": recipe.model_dump(mode="json", exclude_none=True), "precision": chosen.policy})

    # ---------------------------------------------------------------- networks, one after the other
    kept = checkpoints.opened(recipe, fingerprint, run_key, state)
    begin = beginning(recipe, classes, state, run)
    fitted: list[Fitted] = []
    with (
        run.stream() as stream,
        Boards(folder / "tensorboard") if recipe.resources.tensorboard else nullcontext() as boards,
    ):
        view = LiveView(stream, boards, settings.members)
        for member in range(1, settings.members + 1):
            own = kept if settings.members == 1 else kept.of_member(member)
            fitted.append(Fitting(recipe, dataset, own, view, found, state.cache, member, begin).run())
            view.resumed(fitted[-1].epochs)
    run.log_params({"compilation": fitted[-1].compilation})

    # ---------------------------------------------------------------- export
    served = classifier.for_serving([one.weights for one in fitted], recipe.model, len(classes))
    versions = {name: version(name) for name in (*SERVING_PACKAGES, "mlflow")}
    uri = run.log_model(
        served,
        _signature(len(classes)),
        _example_batch(dataset.split("test")),
        [f"{name}=={versions[name]}" for name in SERVING_PACKAGES],
        {
            "classes": classes,
            "run_key": run_key,
            "fingerprint": fingerprint,
            "variant": recipe.model.variant,
            "views_at_once": views.at_once(recipe.model.test_time),
        },
    )
    epochs = [epoch for one in fitted for epoch in one.epochs]
    chosen_epochs = [one.chosen_epoch for one in fitted]
    write_atomically(folder / "curves.png", plots.curves(epochs, chosen=chosen_epochs))
    write_atomically(folder / "recipe.json", recipe.canonical())
    tracking.log_files(state, run.run_id, [folder / "curves.png", folder / "recipe.json"], "training")
    left = {
        training_files.GOLDEN: golden.answers_of(served, dataset.split("test")),
        training_files.IDENTITIES: hygiene.identities_of(dataset),
    }
    training_files.leave(state, run.run_id, folder, left)
    restarts = [restart for one in fitted for restart in one.restarts]
    told = {"restarts": " ".join(restarts)} if restarts else {}
    run.set_tags({"fingerprint": fingerprint, "model_uri": uri} | told)
    return record.Trained(
        model_uri=uri,
        mlflow_run_id=run.run_id,
        experiment_id=run.experiment_id,
        variant=recipe.model.variant,
        image_size=zoo.resolve(recipe.model).image_size,
        parameters=served.count_params(),
        training_parameters=sum(one.parameters for one in fitted),
        epochs=epochs,
        members=len(fitted),
        chosen_epochs=chosen_epochs,
        restarts=restarts,
        init=fitted[0].init,
        precision=chosen.policy,
        compilation=fitted[-1].compilation,
        device=str(found),
        seconds=sum(one.seconds for one in fitted),
        resumed_from_epoch=next((one.resumed_from_epoch for one in fitted if one.resumed_from_epoch is not None), None),
        versions=versions | {"python": platform.python_version()},
        lineage=lineage.here(),
    )


def _forget_checkpoints(recipe: Recipe, fingerprint: str, run_key: str, state: State) -> None:
    from trainer.training import checkpoints

    checkpoints.opened(recipe, fingerprint, run_key, state).clear()


def beginning(recipe: Recipe, classes: list[str], state: State, run: tracking.Run) -> Begin | None:
    """What fills a member's network with the weights the recipe wants it to begin with; None where they are random."""
    from trainer.models import zoo
    from trainer.weights import champion, exported, published
    from trainer.weights.served import Start

    init = recipe.model.init
    if init is None:
        return None
    kind, _, address = init.partition(":")

    @cache
    def start() -> Start:
        # Once, and only where a training begins: the members of an ensemble begin with one and the same model.
        if kind == published.EXPORTED:
            return exported.find(address, recipe.model.variant, classes, state.cache)
        return champion.find(recipe, classes, state)

    def from_model(network: keras.Model, member: int) -> str | None:
        begun = exported.fill(start(), network, member) if kind == published.EXPORTED else start().fill(network, member)
        if member == 1:
            run.set_tags(begun.tags)
        note(f"begun with {begun}")
        return begun.source

    def from_publication(network: keras.Model, member: int) -> str:
        begun = weights.load(network, zoo.resolve(recipe.model), init, len(classes), state.cache)
        run.set_tags({"init": begun.source, "init_sha256": begun.sha256})
        note(f"begun with {begun}")
        return begun.source

    return from_model if kind in published.MODELS else from_publication


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
