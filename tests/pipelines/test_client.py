"""The door to a pipeline server: what it says when the server is not as it should be."""

from __future__ import annotations

import socket
import warnings
from typing import Any

import pytest

from pipelines import client
from pipelines.client import Server
from pipelines.environments import load
from pipelines.server_errors import Conflict, NotFound
from pipelines.submission import find_experiment
from trainer.errors import ServerError, UsageError


def door(project: Any, more: str = "") -> Server:
    text = (project.folder / "configs" / "environments" / "here.toml").read_text()
    (project.folder / "door.toml").write_text(text.replace("[images]", f"{more}\n[images]"))
    return Server(load(str(project.folder / "door.toml")))


def look(server: Server) -> None:
    server.read(server.runs.run_service_list_runs)


REFUSALS = {
    401: ("does not know who is asking (401)", "authentication"),
    403: ("refuses this to whoever is asking (403)", "on the namespace 'kubeflow', or look at [server]"),
    404: ("has nothing there (404)", "endpoint"),
    409: ("has that already (409)", "Use another name"),
    400: ("does not accept the request (400)", "See what it says"),
    500: ("failed (500)", "the server's own log"),
    302: ("sends us to another page (302), as for a login", "authentication"),
}


@pytest.mark.parametrize("status", REFUSALS)
def test_a_refusal_says_what_was_refused_and_what_to_do(project: Any, status: int) -> None:
    """And is asked for once: it would be refused again."""
    project.server.fault("GET", "/runs", status, times=9)
    with pytest.raises(ServerError) as error:
        look(door(project))
    message, remedy = REFUSALS[status]
    assert message in error.value.message
    assert project.server.address in error.value.message
    assert remedy in error.value.remedy
    assert project.server.count("GET", "/runs") == 1
    assert isinstance(error.value, NotFound) is (status == 404)
    assert isinstance(error.value, Conflict) is (status == 409)


@pytest.mark.parametrize("action", ["drop", 503, 429, 502, 504])
def test_what_is_read_is_asked_for_again_where_that_may_help(project: Any, action: Any) -> None:
    """A few times; then it is an error."""
    server = door(project)
    project.server.fault("GET", "/runs", action, times=client.TRIES - 1)
    look(server)
    assert project.server.count("GET", "/runs") == client.TRIES
    project.server.fault("GET", "/runs", action, times=client.TRIES)
    with pytest.raises(ServerError):
        look(server)


@pytest.mark.parametrize("action", ["drop", 503, 500])
def test_what_makes_something_is_sent_once(project: Any, action: Any) -> None:
    """A run must not start twice because an answer was lost."""
    server = door(project)
    project.server.fault("POST", "/experiments", action)
    with pytest.raises(ServerError):
        server.send(server.experiments.experiment_service_create_experiment, {"display_name": "digits"})
    assert project.server.count("POST", "/experiments") == 1


def test_a_server_that_hangs_is_waited_for_no_longer_than_said(project: Any) -> None:
    """And not asked again: that would be as long once more."""
    file = project.folder / "configs" / "environments" / "here.toml"
    file.write_text(file.read_text().replace("timeout = 20.0", "timeout = 0.5"))
    server = door(project)
    project.server.fault("GET", "/runs", "hang")
    with pytest.raises(ServerError, match=r"does not answer within 0\.5 seconds"):
        look(server)
    assert project.server.count("GET", "/runs") == 1


def test_a_server_that_is_not_there(project: Any) -> None:
    """Its address is said, and where that comes from."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        project.server.address = f"http://127.0.0.1:{free.getsockname()[1]}"
    project.environment()
    with pytest.raises(ServerError) as error:
        look(door(project))
    assert project.server.address in error.value.message
    assert "refused" in error.value.message
    assert "the environment 'door'" in error.value.remedy


def test_a_connection_that_breaks_is_said_in_plain_words(project: Any) -> None:
    """Without the names and brackets of the libraries below."""
    server = door(project)
    project.server.fault("GET", "/runs", "drop", times=client.TRIES)
    with pytest.raises(ServerError, match=r"cannot be reached: [A-Z][A-Za-z ]+\.\n"):
        look(server)
    project.server.address = "http://no-such-host.invalid"
    project.environment()
    with pytest.raises(ServerError, match=r"cannot be reached: Failed to resolve 'no-such-host.invalid' \(.+\)\.\n"):
        look(door(project))


@pytest.mark.parametrize("path", ["/runs", "/healthz"])
def test_a_login_page_is_no_answer(project: Any, path: str) -> None:
    """Some proxies answer it with status 200; it must not be taken for an empty list."""
    project.server.fault("GET", path, "html")
    with pytest.raises(ServerError, match="is no pipeline server of this API"):
        find_experiment(door(project), "digits") if path == "/healthz" else look(door(project))


@pytest.mark.parametrize("more", ["", 'certificate = "none.pem"'])
def test_what_goes_wrong_with_tls_is_said(project: Any, more: str) -> None:
    """A plain server behind an https address, or a certificate that is not there."""
    project.server.address = project.server.address.replace("http:", "https:")
    project.environment()
    with pytest.raises(ServerError, match="cannot be spoken to over TLS") as error:
        look(door(project, more))
    assert "certificate" in error.value.remedy


def test_a_token_is_shown_and_never_said(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a bearer; one that changes is read again, one that is wrong is not in the error."""
    file = project.folder / "token"
    file.write_text("first")
    project.server.token = "first"
    server = door(project, f'authentication = {{ name = "token", file = "{file}" }}')
    look(server)
    file.write_text("second")
    with pytest.raises(ServerError) as error:
        look(server)
    assert "second" not in str(error.value)
    project.server.token = "second"
    look(server)
    with pytest.raises(UsageError, match="KFP_TOKEN is not set"):
        door(project, 'authentication = { name = "token", variable = "KFP_TOKEN" }')


def test_a_cookie_is_shown(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the login page gave it."""
    project.server.cookie = "authservice_session=abc"
    monkeypatch.setenv("KFP_COOKIE", "authservice_session=abc")
    look(door(project, 'authentication = { name = "cookie", variable = "KFP_COOKIE" }'))


def test_the_namespace_is_named_where_several_users_share_a_server(project: Any) -> None:
    """And only there: a server of one user refuses it."""
    assert door(project).here == {}
    project.server.multi_user = True
    assert door(project, 'namespace = "vision"').here == {"namespace": "vision"}


def test_lists_are_read_to_their_end(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Page by page."""
    monkeypatch.setattr(client, "PAGE", 2)
    server = door(project)
    for number in range(5):
        project.server.create_experiment({"display_name": f"e{number}"})
    assert find_experiment(server, "e4") is not None
    assert project.server.count("GET", "/experiments") == 3


def test_the_sdk_finds_what_was_sent(project: Any) -> None:
    """The test's server is one that `kfp.Client` itself takes for a pipeline server."""
    import kfp

    status, *_ = project.ask("submit", "configs/digits.toml", "--environment", "here")
    assert status == 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sdk = kfp.Client(host=project.server.address)
    pipeline = sdk.get_pipeline_id("inception-digits-here")
    [version] = sdk.list_pipeline_versions(pipeline).pipeline_versions
    [run] = sdk.list_runs(experiment_id=sdk.get_experiment(experiment_name="digits").experiment_id).runs
    assert run.pipeline_version_reference.pipeline_version_id == version.pipeline_version_id
    project.server.play(run.run_id, {"state": "RUNNING"}, {"state": "SUCCEEDED"})
    assert sdk.wait_for_run_completion(run.run_id, timeout=9, sleep_duration=0).state == "SUCCEEDED"
