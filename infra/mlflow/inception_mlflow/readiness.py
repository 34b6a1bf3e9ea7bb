"""Whether the server of this container can answer somebody: the process, and through it the database."""

from __future__ import annotations

import base64
import urllib.error
import urllib.request
from http import HTTPStatus

SECONDS = 8.0
_NOBODY = base64.b64encode(b"readiness:none").decode()


def trouble(port: int) -> str | None:
    """None where it is ready, else why not.

    A user who is not there asks to sign in. To refuse that (401) the server must have looked into its database; a
    database that is away, or slow beyond bearing, makes any other answer. No password is needed for it.
    """
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/2.0/mlflow/users/current", headers={"Authorization": f"Basic {_NOBODY}"}
    )
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            status = answer.status
    except urllib.error.HTTPError as error:
        status = error.code
    except OSError as error:
        return f"the server does not answer on port {port} ({getattr(error, 'reason', None) or error})"
    return None if status == HTTPStatus.UNAUTHORIZED else f"the server answers {status}: see its log, and the database"
