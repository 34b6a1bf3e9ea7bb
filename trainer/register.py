"""The verb `register`: make the model version of a run key, once."""

from __future__ import annotations

from collections.abc import Mapping

from trainer import record
from trainer.events import note
from trainer.lineage import GIT_COMMIT, IMAGE_DIGEST, KFP_RUN_ID, here
from trainer.registry.locks import held
from trainer.registry.protocol import CHALLENGER, RUN_KEY_TAG, ModelVersion, Registry
from trainer.state import State

TAG_LIMIT = 100_000
"""Characters that MLflow takes as the value of a version's tag."""


def register(
    registry: Registry,
    name: str,
    trained: record.Trained,
    evaluated: record.Evaluated,
    checked: record.Checked,
    prepared: record.Prepared,
    state: State,
    tick: str = "",
) -> record.Registered:
    """Give the trained model a version with its tags, and the alias `challenger`.

    The same run key never keeps a second version: registrations of one state folder take turns, and one that another
    machine made at the same time is seen afterwards, when the younger of the two goes. Tags are made with the
    version, so a crash leaves at most a missing alias, which the next call sets.

    Args:
        registry: where the version is made.
        name: the registered model.
        trained, evaluated, checked, prepared: what the earlier steps left in the run record.
        state: the state folder, for the lock.
        tick: id of this pipeline run; a version keeps that of the run that made it.

    Errors: RegistryError, StateError.
    """
    tags = _tags(trained, evaluated, checked, prepared) | _lineage(trained, tick)
    with held(state.ledger(name).with_name(f".{name}.register.lock")):
        version, created = _only_version(registry, name, trained, checked.run_key, tags)
    if not created:
        changed = {key: tags[key] for key in tags if version.tags.get(key) != tags[key]}
        made_by = {key for key in (GIT_COMMIT, IMAGE_DIGEST, KFP_RUN_ID) if key in version.tags}
        registry.set_tags(name, version.version, {key: changed[key] for key in changed if key not in made_by})
    registry.set_alias(name, CHALLENGER, version.version)
    note(f"{name} version {version.version} {'registered' if created else 'was registered already'}")
    known = tags | dict(version.tags)
    lineage = {key: known[key] for key in (GIT_COMMIT, IMAGE_DIGEST, KFP_RUN_ID) if key in known}
    return record.Registered(name=name, version=version.version, created=created, lineage=lineage)


def _only_version(
    registry: Registry, name: str, trained: record.Trained, run_key: str, tags: Mapping[str, str]
) -> tuple[ModelVersion, bool]:
    found = registry.find_by_run_key(name, run_key)
    if found is not None:
        return found, False
    made = registry.create_version(name, trained.model_uri, trained.mlflow_run_id, tags)
    oldest = registry.find_by_run_key(name, run_key)
    if oldest is not None and oldest.version != made.version:
        registry.delete_version(name, made.version)
        return oldest, False
    return made, True


def _lineage(trained: record.Trained, tick: str) -> dict[str, str]:
    """What was at work: the code and the image of the training, or of this step where that was not recorded."""
    made_by = here() | trained.lineage | ({KFP_RUN_ID: tick} if tick else {})
    return {key: value[:TAG_LIMIT] for key, value in made_by.items()}


def _tags(
    trained: record.Trained, evaluated: record.Evaluated, checked: record.Checked, prepared: record.Prepared
) -> dict[str, str]:
    """Run key and its parts, figures, and the recipe: whole or not at all, where it is longer than a tag may be."""
    recipe = {"recipe": checked.recipe} if len(checked.recipe) <= TAG_LIMIT else {}
    return {
        RUN_KEY_TAG: checked.run_key,
        "fingerprint": checked.fingerprint,
        "config_digest": checked.config_digest,
        "code_digest": checked.code_digest,
        **recipe,
        "variant": trained.variant,
        "parameters": str(trained.parameters),
        "test_accuracy": repr(evaluated.challenger.accuracy),
        "test_log_loss": repr(evaluated.challenger.log_loss),
        "test_examples": str(evaluated.challenger.examples),
        "test_digest": evaluated.challenger.test_digest,
        **{f"{split}_identities": digest for split, digest in prepared.identity_digests.items()},
    }
