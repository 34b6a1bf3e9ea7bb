"""Where the model came from, and how to make it again."""

from __future__ import annotations

import shlex

from trainer.card.material import Material
from trainer.card.numbers import moment

RECIPE_FILE = "recipe.toml"
"""The recipe as it was run, written beside the card."""

_LABELS = {"kfp_run_id": "Pipeline run"}


def lineage(m: Material) -> list[tuple[str, str]]:
    """Everything that says where the model came from."""
    rows: list[tuple[str, str]] = []
    if m.model:
        rows.append(("Model", f"{m.model}, version {m.version}" if m.version else m.model))
    if m.checked:
        rows += [
            ("Run key", m.checked.run_key),
            ("Data fingerprint", m.checked.fingerprint),
            ("Recipe digest", m.checked.config_digest),
            ("Code digest", m.checked.code_digest),
        ]
    made_by = (m.trained.lineage if m.trained else {}) | (m.registered.lineage if m.registered else {})
    rows += [(_LABELS.get(key, key.replace("_", " ").capitalize()), value) for key, value in made_by.items()]
    if m.checked:
        rows += [
            ("Source", "; ".join(f"{key}: {value}" for key, value in m.checked.source.items())),
            ("Checked", moment(m.checked.at)),
        ]
    if m.trained:
        rows += [("Model address", m.trained.model_uri), ("MLflow run", m.trained.mlflow_run_id)]
    if m.trained and m.trained.init:
        rows.append(("Began with", m.trained.init))
    if m.evaluated:
        rows.append(("Test examples", m.evaluated.challenger.test_digest))
    if m.promoted:
        rows += [("Decided", moment(m.promoted.at)), ("Verdict digest", m.promoted.verdict.digest())]
        if m.promoted.ledger_entry is not None:
            rows.append(("Ledger entry", f"{m.promoted.ledger_entry}{_event(m)}"))
    if m.tick != made_by.get("kfp_run_id"):
        rows.append(("Reported by the run" if "kfp_run_id" in made_by else "Pipeline run", m.tick))
    return rows


def _event(m: Material) -> str:
    if m.entry is None:
        return ""
    by = f" by {m.entry.actor}" if m.entry.actor else ""
    return f" ({m.entry.event}{by})"


def command(m: Material) -> str:
    """What makes this model again, from nothing: a state folder of its own knows of no earlier work."""
    return shlex.join(["inception", "run", str(m.folder / RECIPE_FILE), "--state", "reproduced"])
