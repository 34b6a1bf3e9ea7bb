"""The verb `tune`: which values of a recipe give the best validation figures.

Reads top to bottom. This process asks for values and keeps the study; workers train. Whatever kills either, the next
call with the same recipe, space and images goes on with the same study, and a trial under way with its last checkpoint.
"""

from __future__ import annotations

import signal
from pathlib import Path

import optuna
from filelock import BaseFileLock, FileLock, Timeout
from optuna.trial import TrialState

from trainer import sharing, tracking
from trainer.check import code_digest
from trainer.config import Recipe
from trainer.data.sources import open_source
from trainer.errors import RecipeError, StateError, TrainingError
from trainer.events import emit, note
from trainer.prepare import prepare
from trainer.state import State, write_atomically
from trainer.tuning import best, keys, plots, results
from trainer.tuning.crew import Crew, Message
from trainer.tuning.results import Tried, Tuned
from trainer.tuning.space import Space
from trainer.tuning.study import NUMBER, Study, number

BEST = "best.toml"

FAILURES_IN_A_ROW = 3
"""So many trials that fail through no fault of their values, one after the other, and the next will too."""


def tune(
    recipe: Recipe,
    space: Space,
    trials: int,
    state: State,
    log: Path,
    parallel: int = 1,
    output: Path | None = None,
) -> Tuned:
    """Try values of the space until there are `trials` trials, those of earlier calls included.

    Args:
        recipe: what is tuned.
        space: which of its values may be others.
        trials: how many in all.
        state: the state folder.
        log: what the workers print goes there.
        parallel: how many at once.
        output: where the best recipe goes too.

    Errors: UsageError (the recipe does not take what the space would try), DataError, StateError, RegistryError,
    TrainingError (trial after trial fails; or none was trained to the end).
    """
    # ---------------------------------------------------------------- data, once for all trials
    keys.check(recipe, space)
    fingerprint = open_source(recipe.data, state).fingerprint().digest
    prepare(recipe.data, fingerprint, state, recipe.resources.workers)
    sharing.opened_dataset(state, fingerprint)  # the workers read it from the state folder

    # ---------------------------------------------------------------- study
    code = code_digest()
    study = Study.begun(state, recipe, space, fingerprint, code)
    with _alone(study.folder):
        again = study.retry_abandoned()
        done = len(study.trials())
        emit("study", _beginning(study, done, trials, again), study=study.name, done=done, total=trials,
             parameters=list(space.parameters))  # fmt: skip
        if study.code != code and done < trials:
            note("the code changed since this study was begun: its earlier trials may not compare with the next ones")

        # ---------------------------------------------------------------- trials
        if done < trials:
            name = recipe.registry.name
            with tracking.open_run(state, name, study.name, f"tune {study.name}", run_id=study.mlflow_run_id) as run:
                study.remember_run(run.run_id)
                run.set_tags({"tuning": study.name, "fingerprint": fingerprint})
                try:
                    _try(study, trials, parallel, run, state, log)
                except KeyboardInterrupt:
                    study.retry_abandoned()
                    note(_kept(study, _concluded(study, state, run, output)))
                    raise
                tuned = _concluded(study, state, run, output)
        else:
            tuned = _concluded(study, state, None, output)
    if tuned.best is None:
        raise TrainingError(
            f"None of the {len(tuned.trials)} trials was trained to the end. The last: {tuned.trials[-1].reason}",
            "Widen the space, or allow more with --trials; the log of this run says more.",
        )
    return tuned


def _try(study: Study, trials: int, parallel: int, run: tracking.Run, state: State, log: Path) -> None:
    failures = 0
    with Crew(parallel, [str(state.root), study.name, run.run_id], log) as crew:
        while True:
            while crew.has_room and len(study.trials()) < trials:
                trial = study.ask()
                if not _needs_no_training(study, trial):
                    crew.give(trial.user_attrs[NUMBER])
                _tell(study, trial.user_attrs[NUMBER], run)
            if not crew.busy:
                return
            for message in crew.listen():
                if message.kind == "progress":
                    emit(
                        "progress",
                        step=f"trial {message.number}",
                        number=message.number,
                        unit="steps",
                        **message.fields,
                    )
                    continue
                if message.kind == "error":
                    raise StateError(message.fields["message"], message.fields["remedy"])
                if message.kind == "died":
                    results.end_failed(study, study.trial(message.number), _death(message), fault_of_values=False)
                tried = _tell(study, message.number, run)
                failures = failures + 1 if results.unexpected(study, message.number) else 0
                if failures == FAILURES_IN_A_ROW:
                    raise TrainingError(
                        f"{failures} trials failed, one after the other. The last: {tried.reason}",
                        f"What they printed is in {log}. Mend that, and run again with more --trials.",
                    )


def _needs_no_training(study: Study, trial: optuna.Trial) -> bool:
    """End a trial whose values the recipe does not take together, or which were tried before."""
    try:
        recipe = study.recipe(trial)
    except RecipeError as refusal:
        results.end_refused(study, trial, " ".join(refusal.message.split()))
        return True
    for earlier in study.trials():
        if earlier.state == TrialState.COMPLETE and study.recipe(earlier) == recipe:
            assert earlier.value is not None
            results.end_done(study, trial, earlier.value, None, f"as trial {number(earlier)}, which had these values")
            return True
    return False


def _tell(study: Study, trial_number: int, run: tracking.Run) -> Tried:
    """Say what became of a trial, or that it has begun."""
    tried = next(results.tried(study, trial) for trial in study.trials() if number(trial) == trial_number)
    leader = study.best()
    emit("trial", results.in_words(study, tried), **tried.model_dump())
    if tried.outcome == "done" and tried.value is not None and leader is not None and leader.value is not None:
        run.log_metrics({study.space.metric: tried.value, f"best_{study.space.metric}": leader.value}, tried.number)
        if number(leader) == trial_number:
            write_atomically(study.folder / BEST, best.text(study, leader, study.folder / BEST))
    return tried


def _concluded(study: Study, state: State, run: tracking.Run | None, output: Path | None) -> Tuned:
    """Best recipe, table and pictures, as the trials are now; in the study's folder and, where it is open, its run."""
    tried = [results.tried(study, trial) for trial in study.trials()]
    leader = study.best()
    files: dict[str, bytes | str] = {}
    if leader is not None:
        files[BEST] = best.text(study, leader, study.folder / BEST)
    shares = study.importance()
    metric = study.space.metric
    if tried:
        reported = {number(trial): trial.intermediate_values for trial in study.trials()}
        first = None if leader is None else number(leader)
        files["history.png"] = plots.history(tried, metric)
        files["curves.png"] = plots.curves(tried, reported, first, metric)
    if shares:
        files["importance.png"] = plots.importance(shares, metric, sum(trial.outcome == "done" for trial in tried))
    tuned = Tuned(
        study=study.name,
        folder=str(study.folder),
        metric=metric,
        trials=tried,
        best=None if leader is None else number(leader),
        value=None if leader is None else leader.value,
        importance=shares,
        recipe=None if leader is None else str(output or study.folder / BEST),
        plots=[str(study.folder / name) for name in files if name.endswith(".png")],
        mlflow_run_id=study.mlflow_run_id,
    )
    files["tuning.json"] = tuned.model_dump_json(indent=2) + "\n"
    for name, content in files.items():
        write_atomically(study.folder / name, content)
    if output is not None and leader is not None:
        write_atomically(output, best.text(study, leader, output))
    if run is not None:
        tracking.log_files(state, run.run_id, [study.folder / name for name in files], "tuning")
    return tuned


def _alone(folder: Path) -> BaseFileLock:
    """Held by the one process that asks for values; the operating system frees it when that process dies."""
    lock = FileLock(folder / ".tune.lock")
    try:
        lock.acquire(blocking=False)
        lock.release()
    except Timeout:
        note("another process works on the same study: waiting for it")
    return lock


def _beginning(study: Study, done: int, trials: int, again: int) -> str:
    words = f"study {study.name}: "
    if done >= trials:
        return f"{words}{done} trials are done, {trials} were asked for"
    words += f"{trials} trials" if not done else f"going on after {done} of {trials} trials"
    return words + (f"; {again} that a killed process left begin anew from their last checkpoints" if again else "")


def _kept(study: Study, tuned: Tuned) -> str:
    count = len(tuned.trials)
    ended = f"{count} trial{' is' if count == 1 else 's are'} kept in {study.folder}"
    if tuned.best is None:
        return ended
    return f"{ended}; the best so far, trial {tuned.best} with {tuned.metric} {tuned.value:.4f}, is in {tuned.recipe}"


def _death(message: Message) -> str:
    status = message.fields["status"]
    if status == -signal.SIGKILL:
        return "its process was killed, as the operating system does with one that takes too much memory"
    return f"its process ended with status {status}"
