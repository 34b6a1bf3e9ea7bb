"""Whether an empty ledger is the model's own: the tags of its versions tell of one that lies elsewhere."""

from __future__ import annotations

from trainer.errors import RegistryError
from trainer.registry.protocol import ENTRY_TAG, RETIRED_TAG, Ledger, Registry
from trainer.registry.stores import VARIABLE


def marked(registry: Registry, name: str) -> str | None:
    """A version whose tags say that a ledger knows the model. Errors: RegistryError (no such model)."""
    return next((one.version for one in registry.versions(name) if {ENTRY_TAG, RETIRED_TAG} & one.tags.keys()), None)


def expect_known(registry: Registry, ledger: Ledger, name: str) -> None:
    """See that an empty ledger is not taken for that of a model whose ledger lies elsewhere.

    A second one would know neither the champion, nor who is retired, nor what of the error budget is spent.

    Errors: RegistryError (by its tags a ledger knows the model, and this one is empty), StateError.
    """
    if ledger.read().entries or name not in registry.names():
        return
    version = marked(registry, name)
    # A ledger that was begun since it was read explains the tag.
    if version is None or ledger.read().entries:
        return
    raise RegistryError(
        f"The tags of version {version} of {name!r} say that a ledger knows it, and there is none at {ledger.address}.",
        f"Set {VARIABLE}, or --state, to where it lies. To begin a new one on purpose: inception models audit {name} "
        "--adopt --reason TEXT",
    )
