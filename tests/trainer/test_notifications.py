"""How a run ended reaches those who want to know, through real servers on this machine."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope

from trainer import notifications
from trainer.errors import RecipeError
from trainer.record import Outcome
from trainer.report import report
from trainer.state import State


def outcome(result: Any = "promoted", **more: Any) -> Outcome:
    values: dict[str, Any] = dict.fromkeys(Outcome.model_fields) | {
        "tick": "t",
        "result": result,
        "reason": "Accuracy 0.98 beats <the champion's> & more, é.",
        "model": "digits",
        "version": "7",
        "accuracy": 0.98,
        "champion": "7",
        "card": "runs/k/card.html",
        "remedy": "",
    }
    given = values | more
    left_out = {key for key, field in Outcome.model_fields.items() if given[key] is None and not field.is_required()}
    return Outcome(**{key: value for key, value in given.items() if key not in left_out})


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries follow one another at once."""
    monkeypatch.setattr(notifications, "PAUSE_SECONDS", 0.01)


class Hook:
    """A web server that keeps what it is sent and answers as it is told, then 200."""

    def __init__(self) -> None:
        hook = self
        self.received: list[Any] = []
        self.answers: list[int] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["Content-Length"]))
                hook.received.append((self.path, json.loads(content)))
                self.send_response(hook.answers.pop(0) if hook.answers else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}/secret-path"
        threading.Thread(target=self.server.serve_forever, args=[0.02], daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hook]:
    with closing(Hook()) as served:
        monkeypatch.setenv("HOOK", served.address)
        yield served


def configured(state: State, text: str) -> None:
    (state.root / notifications.FILE).write_text(text)


@pytest.mark.parametrize("form", ["json", "slack"])
def test_a_webhook_gets_the_outcome(state: State, hook: Hook, form: str) -> None:
    """Every field as JSON, or one message in the form that chat servers take, their special characters escaped."""
    configured(state, f'[[webhook]]\nurl = "env:HOOK"\nformat = "{form}"\n')
    assert notifications.tell(state, outcome()) == ["webhook 1"]
    ((path, said),) = hook.received
    assert path == "/secret-path"
    if form == "json":
        assert said["result"] == "promoted"
        assert said["accuracy"] == 0.98
        assert set(said) == set(Outcome.model_fields)
    else:
        assert set(said) == {"text"}
        assert said["text"].startswith("*digits version 7: promoted, accuracy 0.9800*\n")
        assert "&lt;the champion's&gt; &amp; more, é." in said["text"]
        assert "runs/k/card.html" in said["text"]


@pytest.mark.parametrize(
    ("on", "result", "told"),
    [
        ("", "promoted", 1),
        ("", "failed", 1),
        ("", "skipped", 0),
        ('on = ["failed"]', "promoted", 0),
        ('on = ["skipped"]', "skipped", 1),
        ("on = []", "failed", 0),
    ],
)
def test_only_what_is_wanted_is_told(state: State, hook: Hook, on: str, result: str, told: int) -> None:
    """Everything but skipped ticks, unless the file says otherwise."""
    configured(state, f'[[webhook]]\nurl = "env:HOOK"\n{on}\n')
    assert len(notifications.tell(state, outcome(result))) == told == len(hook.received)


@pytest.mark.parametrize(
    ("answers", "tries", "says"),
    [
        ([503, 429], 3, None),
        ([503, 503, 503], 3, "the server answered 503."),
        ([404], 1, "the server answered 404."),
        ([302], 1, "the server answered 302."),
    ],
)
def test_a_server_in_trouble_is_tried_again_and_harms_nothing(
    state: State, hook: Hook, answers: list[int], tries: int, says: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """Passing troubles three times, others once; what remains is noted, without the address, which is a secret."""
    configured(state, '[[webhook]]\nurl = "env:HOOK"\n')
    hook.answers = list(answers)
    told = notifications.tell(state, outcome())
    assert len(hook.received) == tries
    printed = capsys.readouterr().out
    assert told == ([] if says else ["webhook 1"])
    assert (says or "") in printed
    assert "secret-path" not in printed


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[[webhook]]\nurl = "env:NOT_SET"\n', "the environment has no NOT_SET."),
        ('[[webhook]]\nurl = "nonsense"\n', "its url is no http(s) address."),
        ('[[webhook]]\nurl = "http://127.0.0.1:9/secret-path"\n', "ConnectionError."),
        ('[[webhook]]\nurl = "env:HOOK"\nonn = []\n', "Did you mean 'on'?"),
        ('[[webhook]]\nurl = "env:HOOK"\non = ["promotd"]\n', "promotd"),
        ("[[webhook]\n", "is not valid TOML"),
        ('[[email]]\nserver = "127.0.0.1:smtp"\nfrom = "a@b"\nto = ["c@d"]\n', "127.0.0.1:smtp: its port"),
        ('webhook = "http://127.0.0.1:9/secret-path"\n', "webhook: Input should be"),
        ('[[email]]\nserver = "127.0.0.1:9"\nfrom = "a@b"\nto = ["c@d"]\n', "127.0.0.1:9: ConnectionRefusedError."),
    ],
)
def test_what_cannot_be_sent_is_noted(
    state: State, hook: Hook, text: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run is what it is, whoever hears of it."""
    configured(state, text)
    assert notifications.tell(state, outcome()) == []
    printed = capsys.readouterr().out
    assert says in printed
    assert "secret-path" not in printed


def test_a_file_in_another_encoding_is_noted(state: State, capsys: pytest.CaptureFixture[str]) -> None:
    """It stops no report."""
    (state.root / notifications.FILE).write_bytes("# für alle\n".encode("latin-1"))
    assert notifications.tell(state, outcome()) == []
    assert "is not UTF-8" in capsys.readouterr().out


def test_the_file_may_lie_elsewhere(state: State, hook: Hook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the environment says; a file that is named and not there is an error, no file at all is none."""
    assert notifications.load(state) == notifications.Notifications()
    monkeypatch.setenv(notifications.VARIABLE, str(tmp_path / "elsewhere.toml"))
    with pytest.raises(RecipeError, match="which is not there"):
        notifications.load(state)
    (tmp_path / "elsewhere.toml").write_text('[[webhook]]\nurl = "env:HOOK"\n')
    assert notifications.tell(state, outcome()) == ["webhook 1"]


def test_the_report_of_a_run_tells_of_it(state: State, hook: Hook) -> None:
    """Of one that failed at its first step too."""
    configured(state, '[[webhook]]\nurl = "env:HOOK"\n')
    report(state, "a-tick", "FAILED")
    ((_, said),) = hook.received
    assert (said["tick"], said["result"], said["failed_step"]) == ("a-tick", "failed", "check")


class Post:
    """Keeps the letters that a mail server is given."""

    def __init__(self) -> None:
        self.letters: list[Envelope] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Envelope) -> str:  # noqa: N802
        self.letters.append(envelope)
        return "250 OK"


def let_in(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
    return AuthResult(success=(data.login, data.password) == (b"me", b"hush"), handled=False)


EMAIL = """
[[email]]
server = "127.0.0.1:{port}"
security = "none"
from = "inception@example.org"
to = ["a@b.c", "d@e.f"]
"""


@pytest.mark.parametrize(("password", "told"), [(None, 1), ("hush", 1), ("wrong", 0)])
def test_a_letter_reaches_the_mail_server(
    state: State, password: str | None, told: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the run in its subject and the reason in its text; a wrong password is told, and never shown."""
    post = Post()
    auth = {"authenticator": let_in, "auth_required": True, "auth_require_tls": False} if password else {}
    monkeypatch.setenv("SMTP_PASSWORD", password or "")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    controller = Controller(post, hostname="127.0.0.1", port=port, **auth)
    controller.start()
    try:
        login = 'user = "me"\npassword = "env:SMTP_PASSWORD"\n' if password else ""
        configured(state, EMAIL.format(port=port) + login)
        assert len(notifications.tell(state, outcome("failed", remedy="Mend it."))) == told
    finally:
        controller.stop()
    printed = capsys.readouterr().out
    if not told:
        assert "took neither user nor password" in printed
        assert "wrong" not in printed
        return
    (letter,) = post.letters
    assert letter.rcpt_tos == ["a@b.c", "d@e.f"]
    read = message_from_bytes(bytes(letter.content or b""), policy=policy.default)
    assert read["Subject"] == "[inception] digits version 7: failed, accuracy 0.9800"
    assert "é.\nMend it.\nChampion: version 7.\nRun card: runs/k/card.html" in read.get_content().replace("\r\n", "\n")


@pytest.mark.parametrize(
    ("result", "words"),
    [("promoted", "promoted"), ("kept", "not promoted"), ("undecided", "undecided"), ("skipped", "skipped")],
)
def test_the_subject_cannot_be_misread(result: str, words: str) -> None:
    """Of a challenger that did not win it is not said that it was kept."""
    assert notifications.subject(outcome(result)) == f"digits version 7: {words}, accuracy 0.9800"
