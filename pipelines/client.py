"""The only door to a Kubeflow Pipelines server.

It speaks through `kfp_server_api`, the client that the SDK itself is built on. `kfp.Client` is not used: it has no
timeout, asks a server that is not there five times over 25 seconds, prints, and takes its namespace and cookies from
whatever file lies in the caller's home folder.

What is read is asked for again where the connection drops or the server is busy. What makes something is sent once: a
run must not start twice because an answer was lost.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, TypeVar

import kfp_server_api as api
import urllib3
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential

from pipelines.environments import Environment
from pipelines.environments.server import Cookie, ServiceAccount, Token, token, variable
from pipelines.server_errors import Passing, refused, strange, unreachable
from trainer.errors import ServerError

T = TypeVar("T")

PAGE = 100
TRIES = 4
PAUSE = 0.5
"""Seconds before what is read is asked for again; twice as long each further time."""
_LOG = "/apis/v1alpha1/runs/{run}/nodes/{pod}/log"
"""Not part of the described API; the server has it all the same, and the UI uses nothing else."""
_OLD_HEALTH = "/apis/v1beta1/healthz"
"""Likewise: the only place where a server says which version it is."""


class Server:
    """A pipeline server, as one environment speaks to it. Errors of all methods: ServerError, UsageError (token)."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self._at = environment.server
        self._client = api.ApiClient(self._configuration(), cookie=self._cookie())
        # What is tried again is decided here, not by urllib3.
        self._client.rest_client.pool_manager.connection_pool_kw["retries"] = False
        self.pipelines = api.PipelineServiceApi(self._client)
        self.uploads = api.PipelineUploadServiceApi(self._client)
        self.runs = api.RunServiceApi(self._client)
        self.recurring_runs = api.RecurringRunServiceApi(self._client)
        self.experiments = api.ExperimentServiceApi(self._client)
        self._health = api.HealthzServiceApi(self._client)

    def _configuration(self) -> api.Configuration:
        configuration = api.Configuration(host=self._at.address)
        configuration.ssl_ca_cert = self._at.certificate
        shown = self._at.shown
        if isinstance(shown, Token | ServiceAccount):
            configuration.api_key_prefix["authorization"] = "Bearer"
            configuration.api_key["authorization"] = token(shown)

            def refresh(asked: api.Configuration) -> None:
                asked.api_key["authorization"] = token(shown)

            configuration.refresh_api_key_hook = refresh
        return configuration

    def _cookie(self) -> str | None:
        shown = self._at.shown
        return variable(shown.variable) if isinstance(shown, Cookie) else None

    @cached_property
    def namespace(self) -> str | None:
        """What requests must name: the namespace where several users share the server, else nothing at all."""
        return self._at.namespace if self.read(self._health.healthz_service_get_healthz).multi_user else None

    @property
    def here(self) -> dict[str, str]:
        """`namespace`, as an option of a request that may need it."""
        return {"namespace": self.namespace} if self.namespace is not None else {}

    def read(self, call: Callable[..., T], *arguments: Any, **options: Any) -> T:
        """Ask for something, more than once where that may help."""
        for attempt in Retrying(
            retry=retry_if_exception(_may_pass),
            stop=stop_after_attempt(TRIES),
            wait=wait_exponential(PAUSE, max=8.0),
            reraise=True,
        ):
            with attempt:
                answer = self.send(call, *arguments, **options)
        return answer

    def send(self, call: Callable[..., T], *arguments: Any, **options: Any) -> T:
        """Ask once: for what makes, changes or deletes something."""
        try:
            answer = call(*arguments, **options, _request_timeout=(min(10.0, self._at.timeout), self._at.timeout))
        except api.ApiException as error:
            raise refused(self.environment, error) from error
        except api.exceptions.OpenApiException as error:
            raise strange(self.environment, str(error)) from error
        except urllib3.exceptions.HTTPError as error:
            raise unreachable(self.environment, error) from error
        except (AttributeError, ValueError, TypeError) as error:
            # Where TLS fails the generated client stumbles over its own error, which has no body.
            if isinstance(error.__context__, api.ApiException):
                raise refused(self.environment, error.__context__) from error
            # Else these are its words for an answer that is not what was described to it.
            raise strange(self.environment, f"{type(error).__name__}: {error}") from error
        kind = str(self._client.last_response.getheader("content-type"))
        if "html" in kind:
            raise strange(self.environment, "a page for people, as for a login")
        return answer

    def all(self, call: Callable[..., Any], field: str, **options: Any) -> Iterator[Any]:
        """Everything that a list holds, page by page, as it is asked for."""
        page = ""
        while True:
            answer = self.read(call, page_size=PAGE, page_token=page, **options)
            yield from getattr(answer, field) or []
            page = answer.next_page_token or ""
            if not page:
                return

    @cached_property
    def version(self) -> tuple[int, ...] | None:
        """The server's release, `(2, 17, 0)`; None where it does not say."""
        try:
            raw = self._undescribed(_OLD_HEALTH)
            found = re.match(r"v?(\d+)\.(\d+)\.(\d+)", str(json.loads(raw).get("tag_name")))
        except (ServerError, ValueError, AttributeError):
            return None
        return tuple(int(number) for number in found.groups()) if found else None

    def log(self, run: str, pod: str) -> str:
        """What a step's container printed. Errors: ServerError (the pod is gone, and its log was not kept)."""
        return self._undescribed(_LOG.format(run=run, pod=pod)).decode("utf-8", "replace")

    def _undescribed(self, path: str) -> bytes:
        raw = self.read(
            self._client.call_api,
            path,
            "GET",
            header_params={"Accept": "*/*"},
            auth_settings=["Bearer"],
            response_type="str",
            _return_http_data_only=True,
            _preload_content=False,
        )
        content: bytes = raw.data
        return content

    def link(self, path: str) -> str:
        """Address of a page of the UI: `runs/details/…`."""
        return f"{self._at.ui_address}/#/{path}"


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, Passing) and error.may_pass
