"""The verb `lookup`: what lies behind a model's name, from Python as from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from trainer.state import DEFAULT_ROOT

if TYPE_CHECKING:
    from trainer.registry.lookup import Found


def lookup(reference: str, state: str | Path = DEFAULT_ROOT) -> Found:
    """Find a registered model: its version, address, figures, verdict and lineage.

        from trainer.registry import lookup

        champion = lookup("digits@champion")
        print(champion.version, champion.accuracy, champion.lineage["git_commit"])
        mlflow.set_tracking_uri(champion.tracking_uri)
        model = mlflow.pyfunc.load_model(champion.load_uri)

    With MLFLOW_TRACKING_URI set the server is asked, and no state folder is needed. `doubt` says so where the alias was
    moved past the ledger, if the ledger lies in the state folder or where INCEPTION_LEDGERS says. Which server MLflow
    itself uses in this process is left as it is.

    Args:
        reference: `NAME` (its champion), `NAME@champion`, `NAME@challenger` or `NAME/3`; the form
            `models:/NAME@champion` that MLflow uses is understood too.
        state: the state folder, where no server is named.

    Errors: UsageError (not such a reference), RegistryError (no such model, alias or version; the registry is out of
    reach), StateError (no such folder).
    """
    from trainer import tracking
    from trainer.registry.audit import doubt
    from trainer.registry.lookup import lookup as find
    from trainer.registry.mlflow import MlflowRegistry
    from trainer.registry.protocol import CHAMPION
    from trainer.registry.stores import ledger_of
    from trainer.state import State

    folder = State.existing(state)
    registry = MlflowRegistry(tracking.prepared_uri(folder))
    found = find(registry, reference)
    if CHAMPION not in found.aliases:
        return found
    return found.model_copy(update={"doubt": doubt(registry, ledger_of(folder, found.name), found.name)})
