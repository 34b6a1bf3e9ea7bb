"""Model versions, their aliases, and the order of promotions.

`protocol.py` says what a registry and a ledger are; `mlflow.py` and `memory.py` are registries, `ledger.py` keeps the
ledger on a file or in memory and brings the champion alias in line with it; `lookup.py` answers what lies behind a
name.
"""

from __future__ import annotations

from trainer import tracking
from trainer.registry.ledger import FileLedger
from trainer.registry.mlflow import MlflowRegistry
from trainer.registry.protocol import Ledger, Registry
from trainer.state import State


def opened_registry(state: State) -> Registry:
    """The registry in use: the server that MLFLOW_TRACKING_URI names, else the embedded one. Errors: RegistryError."""
    return MlflowRegistry(tracking.connect(state))


def opened(state: State, name: str) -> tuple[Registry, Ledger]:
    """The registry in use and the ledger of one model. Errors: RegistryError."""
    return opened_registry(state), FileLedger(state.ledger(name))
