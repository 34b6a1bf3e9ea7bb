"""Users of the server and what each may do, through the server's own interface, as the administrator."""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from http import HTTPStatus
from typing import Any, Literal

from inception_mlflow import settings
from inception_mlflow.serving import ADMIN, PASSWORD
from inception_mlflow.settings import Trouble

ADDRESS = "MLFLOW_TRACKING_URI"
NAME, SECRET = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"
CLIENT_NAME, CLIENT_PASSWORD = "INCEPTION_CLIENT_USERNAME", "INCEPTION_CLIENT_PASSWORD"

Right = Literal["read", "train", "manage"]
RIGHTS: dict[str, tuple[str, str]] = {
    "read": ("READ", "READ"),
    "train": ("EDIT", "MANAGE"),
    "manage": ("MANAGE", "MANAGE"),
}
"""What each means for the experiment and for the registered model of one name. Taking an alias away asks for MANAGE."""
EVERY = "*"
_SECONDS = 30
_PATIENCE_SECONDS = 180.0


class Server:
    """The server as an administrator sees it: whom MLFLOW_TRACKING_USERNAME names, else the one it was set up with."""

    def __init__(self) -> None:
        """Errors: Trouble where nobody is named."""
        self.address = os.environ.get(ADDRESS) or f"http://127.0.0.1:{settings.port()}"
        remedy = f"Name an administrator in {NAME} and {SECRET}."
        self._who = (
            os.environ.get(NAME) or settings.required(ADMIN, remedy),
            os.environ.get(SECRET) or settings.required(PASSWORD, remedy),
        )

    def wait(self) -> None:
        """Until it answers. Errors: Trouble after three minutes."""
        import requests

        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                if requests.get(f"{self.address}/health", timeout=_SECONDS).ok:
                    return
            except requests.RequestException:
                pass
            if time.monotonic() > deadline:
                raise Trouble(f"The server at {self.address} does not answer.", "See that it runs, and its log.")
            time.sleep(1.0)

    def names(self) -> list[tuple[str, bool]]:
        """Every user, and whether they are an administrator."""
        found = self._ask("GET", "2.0/mlflow/users/list")["users"]
        return sorted((user["username"], user["is_admin"]) for user in found)

    def rights(self, name: str) -> list[tuple[str, str, str]]:
        """What a user was granted or owns: kind, name or id, permission."""
        found = self._ask("GET", "3.0/mlflow/users/permissions/list", params={"username": name})["permissions"]
        return sorted((row["resource_type"], row["resource_pattern"], row["permission"]) for row in found)

    def add(self, name: str, password: str, administrator: bool = False) -> None:
        self._ask("POST", "2.0/mlflow/users/create", {"username": name, "password": password})
        if administrator:
            self._ask("PATCH", "2.0/mlflow/users/update-admin", {"username": name, "is_admin": True})

    def set_password(self, name: str, password: str) -> None:
        """One's own too, where it differs."""
        told = {"username": name, "password": password}
        if name == self._who[0]:
            told["current_password"] = self._who[1]
        self._ask("PATCH", "2.0/mlflow/users/update-password", told)

    def remove(self, name: str) -> None:
        self._ask("DELETE", "2.0/mlflow/users/delete", {"username": name})

    def grant(self, name: str, model: str, right: str) -> None:
        """A right on a model and the experiment of its name, which is made where it is not there; `*` for all."""
        self._expect(name)
        held = self.rights(name)
        for (kind, which), permission in zip(self._named(model), RIGHTS[right], strict=True):
            if (kind, which, permission) in held:
                continue
            self._take(name, kind, which, held)
            told = {"username": name, "resource_type": kind, "resource_id": which, "permission": permission}
            self._ask("POST", "3.0/mlflow/users/permissions/grant", told)

    def revoke(self, name: str, model: str) -> None:
        """Take it back, if it is held."""
        self._expect(name)
        held = self.rights(name)
        for kind, which in self._named(model):
            self._take(name, kind, which, held)

    def ensure(self, name: str, password: str, right: str) -> None:
        """A user with this password and this right on everything, made or brought to it."""
        if name in dict(self.names()):
            self.set_password(name, password)
        else:
            self.add(name, password)
        self.grant(name, EVERY, right)

    def _expect(self, name: str) -> None:
        """Errors: Trouble where there is no such user."""
        known = [known for known, _ in self.names()]
        if name not in known:
            raise Trouble(f"There is no user {name!r}.", f"Users: {', '.join(known)}. Make one: users add {name}")

    def _named(self, model: str) -> tuple[tuple[str, str], tuple[str, str]]:
        """What bears a model's name, as MLflow's rights know it."""
        return ("experiment", self._experiment(model)), ("registered_model", model)

    def _take(self, name: str, kind: str, which: str, held: Collection[tuple[str, str, str]]) -> None:
        """MLflow grants nothing over an earlier right, so that one goes first."""
        if any((kind, which) == right[:2] for right in held):
            told = {"username": name, "resource_type": kind, "resource_id": which}
            self._ask("POST", "3.0/mlflow/users/permissions/revoke", told)

    def _experiment(self, model: str) -> str:
        if model == EVERY:
            return EVERY
        where = "2.0/mlflow/experiments"
        found = self._ask("GET", f"{where}/get-by-name", params={"experiment_name": model}, missing=True)
        return str(
            found["experiment"]["experiment_id"]
            if found
            else self._ask("POST", f"{where}/create", {"name": model})["experiment_id"]
        )

    def _ask(
        self,
        method: str,
        path: str,
        told: dict[str, Any] | None = None,
        params: dict[str, str] | None = None,
        missing: bool = False,
    ) -> Any:
        """The answer's JSON; with `missing`, None where what is asked for is not there. Errors: Trouble."""
        import requests

        try:
            answer = requests.request(
                method, f"{self.address}/api/{path}", json=told, params=params, auth=self._who, timeout=_SECONDS
            )
        except requests.RequestException as error:
            raise Trouble(f"The server at {self.address} does not answer: {error}", "See that it runs.") from error
        if answer.status_code == HTTPStatus.NOT_FOUND and missing:
            return None
        if answer.ok:
            return answer.json() if answer.content else None
        if answer.status_code == HTTPStatus.UNAUTHORIZED:
            raise Trouble(
                f"The server at {self.address} does not know user {self._who[0]!r} with that password.",
                f"Name an administrator in {NAME} and {SECRET}.",
            )
        raise Trouble(
            f"The server at {self.address} refused ({answer.status_code}): {_reason(answer.text)}",
            "Users and rights are an administrator's business; who is one is listed by: inception-mlflow users list",
        )


def _reason(text: str) -> str:
    """MLflow's own words, without the JSON around them."""
    import json

    try:
        return str(json.loads(text)["message"]).partition("\n")[0]
    except (ValueError, KeyError, TypeError):
        return text.strip().partition("\n")[0][:300]
