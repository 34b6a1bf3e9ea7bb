"""The registry in MLflow, on SQLite or behind a server.

MLflow is imported when a registry is opened, not with this module. Passing troubles (a locked database, a server that
is down or answers 500) are tried again (trainer/patience.py); a first try at a version that had worked after all is
found by its run key.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from trainer.errors import RegistryError
from trainer.patience import patiently
from trainer.registry.protocol import RUN_KEY_TAG, ModelVersion, unknown_model, unknown_version

T = TypeVar("T")

_PAGE = 200
_MISSING = "RESOURCE_DOES_NOT_EXIST"
_process_address = threading.RLock()


class MlflowRegistry:
    """The registry at an MLflow address: `sqlite:///…/mlflow.db` or `http://…`.

    Args:
        uri: the address.
        patience: seconds for which passing troubles are tried again; the environment's where None.

    Errors: RegistryError.
    """

    def __init__(self, uri: str, patience: float | None = None) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow.tracking import MlflowClient

        self.uri = uri
        self._patience = patience
        self._client: Any = self._call(lambda: MlflowClient(tracking_uri=uri, registry_uri=uri))

    def names(self) -> list[str]:
        found = self._pages(lambda token: self._client.search_registered_models(max_results=_PAGE, page_token=token))
        return sorted(str(model.name) for model in found)

    def versions(self, name: str) -> list[ModelVersion]:
        return self._search(self._known(name), f"name = '{name}'")

    def get(self, name: str, version: str) -> ModelVersion:
        model = self._known(name)
        # MLflow would call a version that is no number an invalid parameter.
        found = (
            self._unless_missing(lambda: self._client.get_model_version(name, version)) if version.isdigit() else None
        )
        if found is None:
            raise unknown_version(name, version, (one.version for one in self.versions(name)))
        return _as_version(found, model)

    def find_by_run_key(self, name: str, run_key: str) -> ModelVersion | None:
        model = self._model(name)
        if model is None:
            return None
        found = self._search(model, f"name = '{name}' and tags.{RUN_KEY_TAG} = '{run_key}'")
        return found[0] if found else None

    def create_version(self, name: str, model_uri: str, run_id: str, tags: Mapping[str, str]) -> ModelVersion:
        self._call(lambda: self._create_model(name))
        tries = 0

        def create() -> ModelVersion:
            nonlocal tries
            tries += 1
            made = self.find_by_run_key(name, tags.get(RUN_KEY_TAG, "")) if tries > 1 else None
            return made or _as_version(
                self._client.create_model_version(
                    name,
                    source=model_uri,
                    run_id=run_id,
                    tags=dict(tags),
                    model_id=_logged_model(model_uri),
                    await_creation_for=0,  # stores of SQL have it at once
                ),
                None,
            )

        with _process_wide(self.uri):
            return self._call(create)

    def delete_version(self, name: str, version: str) -> None:
        self.get(name, version)
        self._unless_missing(lambda: self._client.delete_model_version(name, version))

    def set_tags(self, name: str, version: str, tags: Mapping[str, str]) -> None:
        self.get(name, version)

        def set_all() -> None:
            for key, value in tags.items():
                self._client.set_model_version_tag(name, version, key, value)

        self._call(set_all)

    def alias(self, name: str, alias: str) -> str | None:
        return _aliases(self._model(name)).get(alias)

    def set_alias(self, name: str, alias: str, version: str) -> None:
        self.get(name, version)
        self._call(lambda: self._client.set_registered_model_alias(name, alias, version))

    def delete_alias(self, name: str, alias: str) -> None:
        self._known(name)
        self._call(lambda: self._client.delete_registered_model_alias(name, alias))

    def _model(self, name: str) -> Any | None:
        return self._unless_missing(lambda: self._client.get_registered_model(name))

    def _known(self, name: str) -> Any:
        model = self._model(name)
        if model is None:
            raise unknown_model(name, self.names())
        return model

    def _create_model(self, name: str) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _search(self, model: Any, query: str) -> list[ModelVersion]:
        found = self._pages(
            lambda token: self._client.search_model_versions(query, max_results=_PAGE, page_token=token)
        )
        return sorted((_as_version(one, model) for one in found), key=lambda one: int(one.version))

    def _pages(self, fetch: Callable[[str | None], Any]) -> Iterator[Any]:
        token: str | None = None
        while True:
            page = self._call(partial(fetch, token))
            yield from page
            token = page.token
            if not token:
                return

    def _unless_missing(self, deed: Callable[[], T]) -> T | None:
        from mlflow.exceptions import MlflowException

        def do() -> T | None:
            try:
                return deed()
            except MlflowException as error:
                if error.error_code == _MISSING:
                    return None
                raise

        return self._call(do)

    def _call(self, deed: Callable[[], T]) -> T:
        """Do something at the registry, patiently. Errors: RegistryError."""
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            return patiently(self.uri, deed, self._patience)
        except (MlflowException, SQLAlchemyError, OSError) as error:
            raise RegistryError(
                f"The MLflow registry at {self.uri} refused: {error}.",
                "See that MLFLOW_TRACKING_URI, or the state folder, names a registry that you may write to.",
            ) from error


@contextmanager
def _process_wide(uri: str) -> Iterator[None]:
    """MLflow's SQL store looks a `models:/m-…` source up at the process's tracking address, not at the client's.

    One thread at a time, where the two differ: another one's address must not be put back meanwhile.
    """
    import mlflow

    with _process_address:
        before = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None
        if before == uri or uri.startswith("http"):
            yield
            return
        mlflow.set_tracking_uri(uri)
        try:
            yield
        finally:
            mlflow.set_tracking_uri(before)


def _aliases(model: Any | None) -> dict[str, str]:
    """MLflow gives versions as numbers from SQLite and as text from a server."""
    return {alias: str(version) for alias, version in model.aliases.items()} if model is not None else {}


def _as_version(found: Any, model: Any | None) -> ModelVersion:
    version = str(found.version)
    return ModelVersion(
        name=found.name,
        version=version,
        model_uri=found.source,
        run_id=found.run_id or "",
        tags=dict(found.tags),
        aliases=sorted(alias for alias, at in _aliases(model).items() if at == version),
        created_at=datetime.fromtimestamp(found.creation_timestamp / 1000, UTC),
    )


def _logged_model(model_uri: str) -> str | None:
    """The id in `models:/m-…`, which a server wants beside the address; None for the address of mere files."""
    identity = model_uri.removeprefix("models:/")
    return identity if identity.startswith("m-") else None
