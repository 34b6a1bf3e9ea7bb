"""What a user is told whom an MLflow server does not know, or does not let do something."""

from __future__ import annotations

import pytest
import requests
from mlflow.exceptions import MlflowException, RestException
from mlflow.protos.databricks_pb2 import CUSTOMER_UNAUTHORIZED, INTERNAL_ERROR, PERMISSION_DENIED, UNAUTHENTICATED

from trainer.patience import patiently
from trainer.refusals import PASSWORD, USER, NotAllowed, refusal

SERVER = "http://mlflow.example.com:5000"
FAILED = "API request to endpoint /api/2.0/mlflow/registered-models/get failed with error code {}"


def of_artifacts(status: int) -> requests.HTTPError:
    answer = requests.Response()
    answer.status_code = status
    return requests.HTTPError(f"{status} for {SERVER}/api/2.0/mlflow-artifacts/artifacts/1/card.html", response=answer)


@pytest.mark.parametrize(
    ("user", "error", "problem", "remedy"),
    [
        (None, MlflowException(FAILED.format(401), UNAUTHENTICATED), "asks who you are", USER),
        (
            "anna",
            MlflowException(FAILED.format(401), CUSTOMER_UNAUTHORIZED),
            "no user 'anna' with this password",
            PASSWORD,
        ),
        ("anna", of_artifacts(401), "no user 'anna' with this password", PASSWORD),
        (
            "anna",
            MlflowException(FAILED.format(403), PERMISSION_DENIED),
            "does not let user 'anna' do this (registered-models/get)",
            "the right to train this model, or to read it",
        ),
        (
            "anna",
            RestException({"error_code": "PERMISSION_DENIED", "message": "no"}),
            "does not let user 'anna' do this",
            USER,
        ),
        ("anna", of_artifacts(403), "does not let user 'anna' do this (artifacts/1/card)", "the right to train"),
        (None, of_artifacts(403), "does not let you do this", "the right to train"),
        (
            "anna",
            MlflowException("403: 'Invalid Host header - possible DNS rebinding attack detected'", PERMISSION_DENIED),
            "does not answer to that name",
            "adds mlflow.example.com:5000 to its MLFLOW_SERVER_ALLOWED_HOSTS",
        ),
    ],
)
def test_a_refused_user_is_told_what_to_do(
    user: str | None, error: Exception, problem: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who they are to the server, what it refused, and where a right or an account comes from."""
    if user is not None:
        monkeypatch.setenv(USER, user)

    def deed() -> None:
        raise error

    with pytest.raises(NotAllowed) as refused:
        patiently(SERVER, deed)
    assert problem in refused.value.message
    assert remedy in refused.value.remedy
    assert refused.value.__cause__ is error


@pytest.mark.parametrize(
    ("address", "error"),
    [
        (SERVER, MlflowException("500", INTERNAL_ERROR)),
        (SERVER, of_artifacts(404)),
        (SERVER, ConnectionError("refused")),
        ("sqlite:///mlflow.db", MlflowException("no", PERMISSION_DENIED)),
    ],
)
def test_other_troubles_are_no_refusal(address: str, error: Exception) -> None:
    """A server that is down or lacks something, and a store without users."""
    assert refusal(address, error) is None
