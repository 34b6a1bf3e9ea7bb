"""The verb `register`: make the model version of a run key, once."""

from __future__ import annotations

from collections.abc import Mapping

from trainer import record
from trainer.events import note
from trainer.registry.locks import held
from trainer.registry.protocol import CHALLENGER, RUN_KEY_TAG, ModelVersion, Registry
from trainer.state import State


def register(
    registry: Registry,
    name: str,
    trained: record.Trained,
    evaluated: record.Evaluated,
    checked: record.Checked,
    prepared: record.Prepared,
    state: State,
    lineage: Mapping[str, str] | None = None,
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
        lineage: more that the caller knows (`git_commit`, `image_digest`, …), as tags.

    Errors: RegistryError, StateError.
    """
    tags = _tags(trained, evaluated, checked, prepared) | dict(lineage or {})
    with held(state.ledger(name).with_name(f".{name}.register.lock")):
        version, created = _only_version(registry, name, trained, checked.run_key, tags)
    if not created:
        registry.set_tags(name, version.version, {key: tags[key] for key in tags if version.tags.get(key) != tags[key]})
    registry.set_alias(name, CHALLENGER, version.version)
    note(f"{name} version {version.version} {'registered' if created else 'was registered already'}")
    return record.Registered(name=name, version=version.version, created=created)


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


def _tags(
    trained: record.Trained, evaluated: record.Evaluated, checked: record.Checked, prepared: record.Prepared
) -> dict[str, str]:
    """Lineage and figures. MLflow takes 100,000 characters a tag; a recipe has about two thousand."""
    return {
        RUN_KEY_TAG: checked.run_key,
        "fingerprint": checked.fingerprint,
        "config_digest": checked.config_digest,
        "code_digest": checked.code_digest,
        "recipe": checked.recipe,
        "variant": trained.variant,
        "parameters": str(trained.parameters),
        "test_accuracy": repr(evaluated.challenger.accuracy),
        "test_log_loss": repr(evaluated.challenger.log_loss),
        "test_examples": str(evaluated.challenger.examples),
        "test_digest": evaluated.challenger.test_digest,
        **{f"{split}_identities": digest for split, digest in prepared.identity_digests.items()},
    }
