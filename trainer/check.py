"""The verb `check`: has this exact work been done?

Reads no image and needs no TensorFlow. The run key is made of what the source holds, what the recipe asks for and what
the code that computes says; when a version with that key has been decided, there is nothing to do.
"""

from __future__ import annotations

import hashlib
from importlib.metadata import requires
from pathlib import Path

from trainer import record, sharing
from trainer.config import Recipe, canonical_json, sha256_text
from trainer.data.sources import open_source
from trainer.events import note
from trainer.registry.audit import doubt
from trainer.registry.ledger import reconcile
from trainer.registry.protocol import Ledger, ModelVersion, Registry, accuracy_of
from trainer.state import State

KEY_LENGTH = 16
COMPUTING_CODE = ("models", "weights", "data", "training", "prepare.py", "train.py", "sections")
"""What decides the figures; how they are reported, registered and shown does not."""
WATCHING_CODE = (
    *("training/live_view.py", "training/boards.py", "training/observer.py"),
    *("training/free_memory.py", "training/memory_probe.py", "training/memory_trial.py"),
    *("training/checkpoints.py", "training/array_file.py"),
)
"""Among it, what shows a training, guards or keeps it."""


def check(
    recipe: Recipe, state: State, registry: Registry, ledger: Ledger, tick: str, force: bool = False
) -> record.Checked:
    """Work out the run key and look it up.

    Args:
        recipe: what is asked for.
        state: the state folder.
        registry: where versions are looked up; its champion alias is first brought in line with the ledger.
        ledger: the order of promotions of this recipe's model.
        tick: id of this pipeline run.
        force: do the work although it was done: the run key is then unlike every other.

    Errors: DataError (the source cannot be read), RegistryError, StateError.
    """
    name = recipe.registry.name
    source = open_source(recipe.data, state).fingerprint()
    fingerprint = source.digest
    config_digest, code = recipe.digest()[:KEY_LENGTH], code_digest()
    run_key = _key(fingerprint, config_digest, code, *([tick] if force else []))

    reconcile(registry, ledger, name)
    versions = registry.versions(name) if name in registry.names() else []
    done = next((v for v in versions if v.tags.get("run_key") == run_key and v.tags.get("verdict")), None)
    parts = {"fingerprint": fingerprint, "config_digest": config_digest, "code_digest": code}
    checked = record.Checked(
        decision="skip" if done else "work",
        reason=_nothing_changed(done, doubt(registry, ledger, name)) if done else _why_work(versions, parts, force),
        run_key=run_key,
        **parts,
        recipe=recipe.canonical(),
        source=source.summary,
        at=record.now(),
    )
    if checked.decision == "work":
        for earlier in (state.run(run_key), state.failed_data(fingerprint)):
            sharing.fetch(state, earlier, sharing.named("failure.json", "train.json"))
            (earlier / "failure.json").unlink(missing_ok=True)
        record.write(state.run(run_key), checked)
    record.write(state.tick(tick), checked)
    note(checked.reason)
    return checked


def is_made(state: State, checked: record.Checked) -> bool:
    """Whether the state folder, or the store, has both the prepared data and the finished training of this work.

    They may have been pruned since they were made, and whoever remembers that the steps were done must do them again.
    """
    sharing.fetch(state, state.data(checked.fingerprint))
    prepared = record.find(state.data(checked.fingerprint), record.Prepared)
    trained = record.find(state.run(checked.run_key), record.Trained)
    return prepared is not None and trained is not None and sharing.has_dataset(state, checked.fingerprint)


def code_digest() -> str:
    """Identity of the code that decides the figures: its own files, and the pinned versions of its libraries."""
    root = Path(__file__).parent
    digest = hashlib.sha256()
    for part in COMPUTING_CODE:
        path = root / part
        for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
            if file.relative_to(root).as_posix() in WATCHING_CODE:
                continue
            digest.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes())
    # Read from the project's own metadata, because the image of this step has no TensorFlow to ask.
    digest.update("\n".join(sorted(requires("inception-retrain") or [])).encode())
    return digest.hexdigest()[:KEY_LENGTH]


def _key(*parts: object) -> str:
    return sha256_text(canonical_json(list(parts)))[:KEY_LENGTH]


def _nothing_changed(done: ModelVersion, doubt: str | None) -> str:
    accuracy = accuracy_of(done)
    figure = f", accuracy {accuracy:.4f}" if accuracy is not None else ""
    return (
        f"Nothing changed: the same images, recipe and code made version {done.version} "
        f"({done.tags['verdict']}{figure}). Use --force to train again." + (f" {doubt}" if doubt else "")
    )


def _why_work(versions: list[ModelVersion], parts: dict[str, str], force: bool) -> str:
    if force:
        return "Work to do: asked to train again although nothing may have changed."
    if not versions:
        return "Work to do: there is no version of this model yet."
    newest = max(versions, key=lambda v: int(v.version))
    words = {"fingerprint": "data", "config_digest": "recipe", "code_digest": "code"}
    changed = [word for part, word in words.items() if newest.tags.get(part) != parts[part]]
    if not changed:
        return f"Work to do: version {newest.version} was made but not decided yet."
    return f"Work to do: since version {newest.version} the {' and the '.join(changed)} changed."
