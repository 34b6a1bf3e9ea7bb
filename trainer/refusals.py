"""What an MLflow server with sign-in refuses: somebody it does not know, or a deed that a user has no right to."""

from __future__ import annotations

import re
from http import HTTPStatus
from urllib.parse import urlsplit

from trainer.errors import RegistryError

USER, PASSWORD = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"
_DEED = re.compile(r"/(?:mlflow|mlflow-artifacts)/([\w/-]+)")


class NotAllowed(RegistryError):
    """The server does not let this user do this, or does not know who asks."""


def refusal(address: str, error: BaseException) -> NotAllowed | None:
    """What to tell the user of an error at an MLflow server; None where it is of another kind."""
    if not address.startswith("http"):
        return None
    status = _status(error)
    if status not in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return None
    user = _user(address)
    if status == HTTPStatus.UNAUTHORIZED and user is None:
        return NotAllowed(
            f"The MLflow server at {address} asks who you are.",
            f"Set {USER} and {PASSWORD} to your account there; whoever runs the server makes accounts.",
        )
    if status == HTTPStatus.UNAUTHORIZED:
        return NotAllowed(
            f"The MLflow server at {address} knows no user {user!r} with this password.",
            f"Set {USER} and {PASSWORD} right; whoever runs the server makes accounts and sets new passwords.",
        )
    if "Invalid Host header" in str(error):
        return NotAllowed(
            f"The MLflow server at {address} does not answer to that name.",
            f"Whoever runs it adds {urlsplit(address).netloc.rpartition('@')[2]} to its MLFLOW_SERVER_ALLOWED_HOSTS.",
        )
    deed = _DEED.search(str(error))
    return NotAllowed(
        f"The MLflow server at {address} does not let {f'user {user!r}' if user else 'you'} do this"
        f"{f' ({deed[1]})' if deed else ''}.",
        "Ask whoever runs the server for the right to train this model, or to read it; an account of your own is named "
        f"in {USER} and {PASSWORD}.",
    )


def _status(error: BaseException) -> int | None:
    """MLflow's own errors carry a code of their own, those of artifacts the answer itself."""
    from mlflow.exceptions import MlflowException
    from requests import HTTPError

    if isinstance(error, MlflowException):
        return int(error.get_http_status_code())
    return error.response.status_code if isinstance(error, HTTPError) and error.response is not None else None


def _user(address: str) -> str | None:
    """Who asks: by the environment or MLflow's file of credentials, or by the address."""
    from mlflow.utils.credentials import read_mlflow_creds

    return read_mlflow_creds().username or urlsplit(address).username
