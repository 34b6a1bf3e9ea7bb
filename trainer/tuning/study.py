"""The study of a tuning: Optuna's, in SQLite, together with what it takes to go on with it after a kill.

A trial has a number that the user sees. Where a process died with a trial in its hands, that trial is marked as
abandoned and proposed again, with the same values under the same number; so the numbers run from 0 without a gap,
and as many of them as were asked for are tried.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import psutil
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from trainer import config
from trainer.config import Recipe, canonical_json, sha256_text
from trainer.errors import StateError
from trainer.state import State, reported
from trainer.tuning import values
from trainer.tuning.space import Space
from trainer.tuning.space import parse as parse_space

NUMBER = "number"
ABANDONED = "abandoned"
PROCESS = "process"
MLFLOW_RUN = "mlflow_run_id"

_WRITTEN, _SPACE, _FINGERPRINT, _CODE = "recipe", "space", "fingerprint", "code_digest"
_DIGEST_LENGTH = 8
_LOCKED_SECONDS = 60
_DYING_SECONDS = 10.0


def name_of(recipe: Recipe, space: Space, fingerprint: str) -> str:
    """Equal recipes, spaces and images make one study; `[resources]` is no part of it."""
    digest = sha256_text(canonical_json([recipe.digest(), space.canonical(), fingerprint]))
    return f"{recipe.registry.name}-{digest[:_DIGEST_LENGTH]}"


def folder_of(state: State, study: str) -> Path:
    return state.root / "tuning" / study


class Study:
    """One study, open. Any number of processes may have it open; one of them, at the root of all, asks and retries."""

    def __init__(self, folder: Path) -> None:
        """Open a study that was begun. Errors: StateError (it cannot be read or written)."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.folder = folder
        self.name = folder.name
        with _readable(folder):
            self.optuna = optuna.load_study(storage=_storage(folder), study_name=self.name)
            self._attributes: dict[str, Any] = self.optuna.user_attrs
        self.space = parse_space(self._attributes[_SPACE])
        self.optuna.pruner = self._pruner()

    @classmethod
    def begun(cls, state: State, recipe: Recipe, space: Space, fingerprint: str, code: str) -> Study:
        """The study of this recipe, space and images: found, or new. Errors: StateError."""
        folder = folder_of(state, name_of(recipe, space, fingerprint))
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with reported(folder), _readable(folder):
            folder.mkdir(parents=True, exist_ok=True)
            new = optuna.create_study(
                storage=_storage(folder),
                study_name=folder.name,
                direction="maximize" if space.maximise else "minimize",
                load_if_exists=True,
            )
            attributes = {_WRITTEN: values.as_written(recipe), _FINGERPRINT: fingerprint, _CODE: code}
            for key, value in (attributes | {_SPACE: space.canonical()}).items():
                if key not in new.user_attrs:
                    new.set_user_attr(key, value)
            own = values.own_values(recipe, space)
            if own is not None and not new.get_trials(deepcopy=False):
                new.enqueue_trial(own, {NUMBER: 0})
        return cls(folder)

    @property
    def written(self) -> str:
        """The recipe that is tuned, as its author wrote it: JSON."""
        return str(self._attributes[_WRITTEN])

    @property
    def fingerprint(self) -> str:
        return str(self._attributes[_FINGERPRINT])

    @property
    def code(self) -> str:
        """Identity of the code that began the study."""
        return str(self._attributes[_CODE])

    @property
    def mlflow_run_id(self) -> str | None:
        return self.optuna.user_attrs.get(MLFLOW_RUN)

    def remember_run(self, run_id: str) -> None:
        self.optuna.set_user_attr(MLFLOW_RUN, run_id)

    def recipe(self, trial: FrozenTrial | optuna.Trial, *more: str) -> Recipe:
        """A trial's recipe. Errors: RecipeError, where the recipe does not take these values together."""
        return values.applied(self.written, self.space, trial.params, *more)

    # ---------------------------------------------------------------- trials

    def trials(self) -> list[FrozenTrial]:
        """Those that began, by their number; of abandoned ones what took their place."""
        waiting = TrialState.WAITING
        begun = [t for t in self.optuna.get_trials(deepcopy=False) if t.state != waiting and NUMBER in t.user_attrs]
        return sorted((t for t in begun if ABANDONED not in t.user_attrs), key=number)

    def trial(self, trial_number: int) -> optuna.Trial:
        """A trial under way, by its number."""
        [frozen] = [trial for trial in self.trials() if number(trial) == trial_number]
        return optuna.Trial(self.optuna, frozen._trial_id)

    def recall(self, trial: optuna.Trial) -> set[int]:
        """Give a trial what its abandoned predecessors reported. Returns the epochs that are reported now."""
        mine = trial.user_attrs[NUMBER]
        same = [t for t in self.optuna.get_trials(deepcopy=False) if t.user_attrs.get(NUMBER) == mine]
        reported = {epoch: value for earlier in same for epoch, value in earlier.intermediate_values.items()}
        own = next(t for t in same if t.number == trial.number).intermediate_values
        for epoch in sorted(reported.keys() - own.keys()):
            trial.report(reported[epoch], epoch)
        return set(reported)

    def ask(self) -> optuna.Trial:
        """The next trial: one that waits to be tried again, else a new proposal."""
        following = 1 + max((t.user_attrs.get(NUMBER, -1) for t in self.optuna.get_trials(deepcopy=False)), default=-1)
        # Seeded anew for each, so that a study that was killed proposes what it would have proposed.
        self.optuna.sampler = optuna.samplers.TPESampler(
            n_startup_trials=self.space.startup_trials, seed=self.space.seed + following
        )
        trial = self.optuna.ask(values.distributions(self.space))
        if NUMBER not in trial.user_attrs:
            trial.set_user_attr(NUMBER, following)
        return trial

    def retry_abandoned(self) -> int:
        """Put trials whose process is gone back among those that wait. Returns how many.

        Only for the one process that holds the study's lock: whatever runs now was left by one that died.
        """
        trials = self.optuna.get_trials(deepcopy=False)
        waiting = {t.user_attrs.get(NUMBER) for t in trials if t.state == TrialState.WAITING}
        running = [t for t in trials if t.state == TrialState.RUNNING]
        for trial in running:
            _end_process(trial.user_attrs.get(PROCESS))
            # In this order, because this process may die here too: a trial is put back once, and never forgotten.
            kept = {key: trial.user_attrs[key] for key in (NUMBER, MLFLOW_RUN) if key in trial.user_attrs}
            if NUMBER in kept and kept[NUMBER] not in waiting:
                self.optuna.enqueue_trial(trial.params, kept)
            optuna.Trial(self.optuna, trial._trial_id).set_user_attr(ABANDONED, True)
            self.optuna.tell(trial.number, state=TrialState.FAIL)
        return len(running)

    def best(self) -> FrozenTrial | None:
        """The best of the trials that were trained to the end; of equals the first."""
        complete = [trial for trial in self.trials() if trial.state == TrialState.COMPLETE]
        if not complete:
            return None
        sign = -1 if self.space.maximise else 1
        return min(complete, key=lambda trial: (sign * (trial.value or 0.0), number(trial)))

    def importance(self) -> dict[str, float]:
        """Share of each key in how much the finished trials differ, the largest first (fANOVA: Hutter et al. 2014).

        Empty where too few of them differ.
        """
        complete = [trial for trial in self.trials() if trial.state == TrialState.COMPLETE]
        if len(complete) < 2 or len({trial.value for trial in complete}) < 2:
            return {}
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=self.space.seed)
        return optuna.importance.get_param_importances(self.optuna, evaluator=evaluator)

    def _pruner(self) -> optuna.pruners.BasePruner:
        space = self.space
        match space.pruner:
            case "median":
                # Optuna's first step is 0, and an epoch's number is a trial's step.
                return optuna.pruners.MedianPruner(space.startup_trials, n_warmup_steps=space.warmup_epochs + 1)
            case "hyperband":
                return optuna.pruners.HyperbandPruner(max(1, space.warmup_epochs), max(self._longest(), 2))
            case "none":
                return optuna.pruners.NopPruner()

    def _longest(self) -> int:
        """Epochs of the longest training that may be tried."""
        parameter = self.space.parameters.get("train.epochs")
        own = config.parse(self.written).train.epochs
        return max(int(value) for value in parameter.samples()) if parameter else own


def number(trial: FrozenTrial) -> int:
    """The number that the user sees."""
    return int(trial.user_attrs[NUMBER])


def this_process() -> list[float]:
    """Names this process among all that ever had its id."""
    return [os.getpid(), psutil.Process().create_time()]


def _end_process(named: list[float] | None) -> None:
    if named is None:
        return
    pid, created = int(named[0]), named[1]
    try:
        process = psutil.Process(pid)
        if process.create_time() == created:
            process.kill()
            process.wait(_DYING_SECONDS)
    except (psutil.NoSuchProcess, psutil.TimeoutExpired):
        return


def _storage(folder: Path) -> optuna.storages.RDBStorage:
    # Several processes write: each waits for the others rather than give up.
    return optuna.storages.RDBStorage(
        f"sqlite:///{folder / 'study.db'}", {"connect_args": {"timeout": _LOCKED_SECONDS}}
    )


@contextmanager
def _readable(folder: Path) -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        raise StateError(
            f"The study in {folder} cannot be used: {getattr(error, 'orig', None) or error}.",
            "See that it can be written and that there is space; a damaged one can only be moved away, to begin anew.",
        ) from error
