"""The best recipe of a study, as a file that `inception run` takes."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from optuna.trial import FrozenTrial

from trainer import record
from trainer.card.recipe_text import as_toml
from trainer.tuning import results
from trainer.tuning.study import Study, number


def text(study: Study, trial: FrozenTrial, path: Path) -> str:
    """TOML of a trial's recipe, with what is known of it in comments.

    Args:
        study: the study.
        trial: its best.
        path: where the file will be.
    """
    recipe = study.recipe(trial)
    tried = results.tried(study, trial)
    lines = [
        f"inception run {shlex.quote(_here(path))}",
        f"Trial {number(trial)} of the study {study.name}, the best of {len(study.trials())} trials: "
        f"{study.space.metric} {trial.value:.4f}",
        f"after {tried.epochs} epochs ({record.now():%Y-%m-%d %H:%M} UTC).",
        *(f"  {key} = {json.dumps(value, ensure_ascii=False)}" for key, value in tried.parameters.items()),
        "It was judged on the validation split, which chose it: what it is worth, the test split says.",
    ]
    if recipe.data.limit is not None:
        lines.append(f"It was tuned on {recipe.data.limit:,} images a split: take data.limit out to train on all.")
    written = recipe.model_dump(mode="json", exclude_unset=True, exclude_none=True)
    return "".join(f"# {line}\n" for line in lines) + as_toml(written)


def _here(path: Path) -> str:
    """A path as it is best typed here."""
    absolute = path.absolute()
    return str(absolute.relative_to(Path.cwd())) if absolute.is_relative_to(Path.cwd()) else str(absolute)
