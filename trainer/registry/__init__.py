"""Model versions, their aliases, and the order of promotions.

`protocol.py` says what a registry and a ledger are; `mlflow.py` and `memory.py` are registries, `stores.py` keeps the
ledger on a file, in Google Cloud Storage or in memory, `ledger.py` brings the champion alias in line with it;
`lookup.py` answers what lies behind a name.
"""

from __future__ import annotations

from trainer import tracking
from trainer.lookup import lookup as looked_up
from trainer.registry.lookup import Found
from trainer.registry.mlflow import MlflowRegistry
from trainer.registry.protocol import Ledger, Registry
from trainer.registry.stores import ledger_of
from trainer.state import State

__all__ = ["Found", "ledger_of", "lookup", "opened", "opened_registry"]

lookup = looked_up  # bound here, after the import of the module of that name has bound the module


def opened_registry(state: State) -> Registry:
    """The registry in use: the server that MLFLOW_TRACKING_URI names, else the embedded one. Errors: RegistryError."""
    return MlflowRegistry(tracking.connect(state))


def opened(state: State, name: str) -> tuple[Registry, Ledger]:
    """The registry in use and the ledger of one model. Errors: RegistryError, StateError."""
    return opened_registry(state), ledger_of(state, name)
