"""One trial: the recipe with its values, trained on the training split and judged on the validation split.

Neither the test split nor the registry is touched.
"""

from __future__ import annotations

import shutil
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import optuna

from trainer import tracking
from trainer.data.prepared import PreparedDataset
from trainer.errors import DataError, RecipeError, RegistryError, StateError, TrainingError
from trainer.record import Epoch
from trainer.state import STORAGE_REFUSALS, State, storage_error
from trainer.train import beginning
from trainer.training import devices, precision
from trainer.training.checkpoints import Checkpoints, belonging
from trainer.training.fitting import Fitting
from trainer.training.observer import Look
from trainer.tuning import results
from trainer.tuning.study import MLFLOW_RUN, PROCESS, Study, this_process

Say = Callable[[dict[str, Any]], None]

ONE_NETWORK = "train.members=1"


class Hopeless(Exception):
    """The pruner's word about a trial under way."""


class Observer:
    """Hands a fitting's figures to the study, to MLflow and to whoever draws them, and ends it where it is hopeless.

    Args:
        study: the study.
        trial: the trial; what it reported in an earlier sitting it does not report again.
        run: its MLflow run.
        say: is told the progress.
    """

    def __init__(self, study: Study, trial: optuna.Trial, run: tracking.Run, say: Say) -> None:
        self._study = study
        self._trial = trial
        self._run = run
        self._say = say
        self._reported = study.recall(trial)

    def looked(self, look: Look) -> None:
        self._say({
            "kind": "progress",
            "done": look.step,
            "total": look.total,
            "epoch": look.epoch,
            "epochs": look.epochs,
            "loss": look.loss,
            "accuracy": look.accuracy,
            "images_per_second": look.images_per_second,
            "seconds_left": look.seconds_left,
        })  # fmt: skip

    def ended(self, epoch: Epoch, look: Look) -> None:
        """Errors: Hopeless."""
        self.looked(look)
        metric = self._study.space.metric
        if epoch.epoch not in self._reported:
            self._run.log_metrics(
                epoch.model_dump(exclude={"epoch", "phase", "member"}, exclude_none=True), epoch.epoch
            )
            self._trial.report(getattr(epoch, metric), epoch.epoch)
        if epoch.epoch < look.epochs and self._trial.should_prune():
            raise Hopeless(f"{metric} {getattr(epoch, metric):.4f} after epoch {epoch.epoch} of {look.epochs}")


def run(study: Study, number: int, dataset: PreparedDataset, state: State, parent_run: str, say: Say) -> None:
    """Train a trial and write down how it ended. What its checkpoints have is not done again.

    Args:
        study: the study.
        number: which of its trials.
        dataset: the prepared dataset.
        state: the state folder.
        parent_run: the study's MLflow run.
        say: called with the progress of the training.

    Errors: StateError and RegistryError, which are no trial's fault and end the tuning.
    """
    trial = study.trial(number)
    trial.set_user_attr(PROCESS, this_process())
    with tracking.open_trial(state, parent_run, f"trial {number}", trial.user_attrs.get(MLFLOW_RUN)) as tracked:
        trial.set_user_attr(MLFLOW_RUN, tracked.run_id)
        tracked.log_params(trial.params)
        try:
            outcome = _trained(study, trial, number, dataset, state, tracked, Observer(study, trial, tracked, say))
        except (StateError, RegistryError):
            raise
        except RecipeError as error:
            outcome = results.end_refused(study, trial, error.message)
        except (TrainingError, DataError) as error:
            outcome = results.end_failed(study, trial, error.message, fault_of_values=True)
        except OSError as error:
            if error.errno in STORAGE_REFUSALS:
                raise storage_error(error, study.folder) from error
            outcome = results.end_failed(study, trial, f"{type(error).__name__}: {error}", fault_of_values=False)
        except Exception as error:
            traceback.print_exc()
            outcome = results.end_failed(study, trial, f"{type(error).__name__}: {error}", fault_of_values=False)
        tracked.set_tags({"outcome": outcome})
    shutil.rmtree(_checkpoints(study, number), ignore_errors=True)


def _trained(
    study: Study,
    trial: optuna.Trial,
    number: int,
    dataset: PreparedDataset,
    state: State,
    tracked: tracking.Run,
    observer: Observer,
) -> results.OutcomeWord:
    recipe = study.recipe(trial, ONE_NETWORK)
    found = devices.find()
    found.check(recipe.train)
    chosen = precision.choose(recipe.train.precision, found.capabilities, precision.cpu_flags())
    keras.mixed_precision.set_dtype_policy(chosen.policy)
    checkpoints = Checkpoints(_checkpoints(study, number), belonging(recipe, study.fingerprint))
    begin = beginning(recipe, dataset.manifest.classes, state, tracked)
    try:
        fitted = Fitting(recipe, dataset, checkpoints, observer, found, state.cache, begin=begin).run()
    except Hopeless as hopeless:
        return results.end_pruned(study, trial, str(hopeless))
    value = getattr(fitted.epochs[fitted.chosen_epoch - 1], study.space.metric)
    tracked.log_metrics({"value": value, "training_seconds": fitted.seconds})
    return results.end_done(study, trial, value, fitted.seconds)


def _checkpoints(study: Study, number: int) -> Path:
    return study.folder / "checkpoints" / f"{number:04d}"
