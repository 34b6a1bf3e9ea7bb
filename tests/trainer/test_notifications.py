"""How a run ended reaches those who want to know, through real servers on this machine."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from trainer import channels, notifications
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
        self.promised = 0
        """Bytes that it says its answer has, and never sends."""
        self.received: list[Any] = []
        self.answers: list[int] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["Content-Length"]))
                hook.received.append((self.path, json.loads(content)))
                self.send_response(hook.answers.pop(0) if hook.answers else 200)
                self.send_header("Content-Length", str(hook.promised))
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
        ("", "kept", 1),
        ("", "undecided", 1),
        ("", "failed", 1),
        ("", "skipped", 0),
        ('on = ["failed"]', "promoted", 0),
        ('on = ["kept", "undecided"]', "kept", 1),
        ('on = ["kept", "undecided"]', "promoted", 0),
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


LETTER = '[[email]]\nserver = "{server}"\nfrom = "a@b"\nto = ["c@d"]\n'


def test_an_answer_that_never_ends_is_not_waited_for(state: State, hook: Hook) -> None:
    """Its first line says all there is to know."""
    configured(state, '[[webhook]]\nurl = "env:HOOK"\ntimeout = 0.3\n')
    hook.promised = 1
    assert notifications.tell(state, outcome()) == ["webhook 1"]
    assert len(hook.received) == 1


def test_what_will_keep_people_from_being_told_is_known_before(state: State, hook: Hook) -> None:
    """A file that makes no sense, and what the environment lacks."""
    assert notifications.problems(state) == []
    configured(state, '[[webhook]]\nurl = "env:HOOK"\n')
    assert notifications.problems(state) == []
    login = 'user = "env:NO_USER"\npassword = "env:NO_PASSWORD"\n'
    configured(state, LETTER.format(server="127.0.0.1:9") + login)
    found = notifications.problems(state)
    assert [line.split(",")[0] for line in found] == [
        f"{notifications.FILE} names env:{name}" for name in ("NO_PASSWORD", "NO_USER")
    ]
    configured(state, "[[webhok]]\n")
    assert "Did you mean 'webhook'?" in notifications.problems(state)[0]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[[webhook]]\nurl = "env:NOT_SET"\n', "the environment has no NOT_SET."),
        ('[[webhook]]\nurl = "nonsense"\n', "its url is no http(s) address."),
        ('[[webhook]]\nurl = "http://127.0.0.1:9/secret-path"\n', "ConnectionError."),
        ('[[webhook]]\nurl = "env:HOOK"\nonn = []\n', "Did you mean 'on'?"),
        ('[[webhook]]\nurl = "env:HOOK"\non = ["promotd"]\n', "promotd"),
        ("[[webhook]\n", "is not valid TOML"),
        ('webhook = "http://127.0.0.1:9/secret-path"\n', "webhook: begins with [[webhook]]"),
        ('[webhook]\nurl = "http://127.0.0.1:9/secret-path"\n', "webhook: begins with [[webhook]]"),
        (
            '[[webhook]]\nurl = "env:HOOK"\non = "failed"\n',
            "webhook 1.on: received 'failed'. Write a list: ['failed'].",
        ),
        (LETTER.format(server="127.0.0.1:smtp"), "email 1.server: write it as host:port"),
        (LETTER.format(server="smtp://127.0.0.1:9"), "email 1.server: write it as host:port"),
        (LETTER.format(server=""), "email 1.server: write it as host:port"),
        (LETTER.format(server="me:secret-path@127.0.0.1"), "email 1.server: write it as host:port"),
        (LETTER.format(server="127.0.0.1:9") + 'user = "me"\n', "email 1: user and password belong together"),
        (
            LETTER.format(server="127.0.0.1:9") + 'user = "env:NOT_SET"\npassword = "x"\n',
            "the environment has no NOT_SET.",
        ),
        (LETTER.format(server="127.0.0.1:9").replace("from", "form"), "Did you mean 'from'?"),
        (LETTER.format(server="127.0.0.1:9").replace('["c@d"]', '"c@d"'), "email 1.to: received 'c@d'. Write a list"),
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


@contextmanager
def mail_server(handler: Any, **more: Any) -> Iterator[int]:
    """Its port on this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    controller = Controller(handler, hostname="127.0.0.1", port=port, **more)
    controller.start()
    try:
        yield port
    finally:
        controller.stop()


@pytest.mark.parametrize(("password", "told"), [(None, 1), ("hush", 1), ("wrong", 0)])
def test_a_letter_reaches_the_mail_server(
    state: State, password: str | None, told: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the run in its subject and the reason in its text; a wrong password is told, and never shown."""
    post = Post()
    auth = {"authenticator": let_in, "auth_required": True, "auth_require_tls": False} if password else {}
    monkeypatch.setenv("SMTP_PASSWORD", password or "")
    with mail_server(post, **auth) as port:
        login = 'user = "me"\npassword = "env:SMTP_PASSWORD"\n' if password else ""
        configured(state, EMAIL.format(port=port) + login)
        assert len(notifications.tell(state, outcome("failed", remedy="Mend it."))) == told
    printed = capsys.readouterr().out
    if not told:
        assert "took neither user nor password" in printed
        assert "wrong" not in printed
        return
    (letter,) = post.letters
    assert letter.rcpt_tos == ["a@b.c", "d@e.f"]
    assert isinstance(letter.content, bytes)
    read = message_from_bytes(letter.content, policy=policy.default)
    assert read["Date"]
    assert read["Message-ID"].endswith("@example.org>")
    assert read["Subject"] == "[inception] digits version 7: failed, accuracy 0.9800"
    assert "é.\nMend it.\nChampion: version 7.\nRun card: runs/k/card.html" in read.get_content().replace("\r\n", "\n")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of this machine's own, with its key in the same file."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    words = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = tmp_path_factory.mktemp("certificate") / "own.pem"
    path.write_bytes(words + made.public_bytes(pem))
    return path


@pytest.mark.parametrize(
    ("security", "server", "trusted", "says"),
    [
        ("starttls", "starttls", True, None),
        ("tls", "tls", True, None),
        ("starttls", "starttls", False, "certificate verify failed"),
        ("tls", "tls", False, "certificate verify failed"),
        ("starttls", "none", True, "See `security`."),
    ],
)
def test_letter_and_password_travel_under_a_certificate(
    security: str, server: str, trusted: bool, says: str | None, state: State, certificate: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Of an authority that the system trusts; a server that is not it, or has none, gets neither."""
    post, own = Post(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    own.load_cert_chain(certificate)
    kinds: dict[str, dict[str, Any]] = {
        "starttls": {"tls_context": own, "require_starttls": True},
        "tls": {"ssl_context": own},
        "none": {},
    }
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate) if trusted else "/dev/null")
    monkeypatch.setenv("SMTP_PASSWORD", "hush")
    with mail_server(post, authenticator=let_in, **kinds[server]) as port:
        text = EMAIL.format(port=port).replace('"none"', f'"{security}"')
        configured(state, text + 'user = "me"\npassword = "env:SMTP_PASSWORD"\n')
        # `tls` from the first byte on is nothing that aiosmtpd takes for encrypted when it is asked for AUTH.
        if server == "tls":
            configured(state, text)
        assert notifications.tell(state, outcome()) == ([] if says else ["e-mail 1"])
    assert len(post.letters) == (0 if says else 1)
    assert (says or "") in capsys.readouterr().out


def test_a_webhook_behind_a_certificate_that_nobody_knows_is_named(
    state: State, hook: Hook, certificate: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the variable that makes it known; another try would meet the same."""
    own = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    own.load_cert_chain(certificate)
    hook.server.socket = own.wrap_socket(hook.server.socket, server_side=True)
    configured(state, f'[[webhook]]\nurl = "{hook.address.replace("http:", "https:")}"\n')
    assert notifications.tell(state, outcome()) == []
    printed = capsys.readouterr().out
    assert "certificate is not trusted; REQUESTS_CA_BUNDLE" in printed
    assert "secret-path" not in printed


def test_a_letter_that_was_taken_is_not_sent_twice(state: State) -> None:
    """Whatever the server says to the goodbye."""

    class Rude(Post):
        async def handle_QUIT(self, *_: Any) -> str:  # noqa: N802
            return "421 go away"

    post = Rude()
    with mail_server(post) as port:
        configured(state, EMAIL.format(port=port))
        assert notifications.tell(state, outcome()) == ["e-mail 1"]
    assert len(post.letters) == 1


def test_who_was_refused_is_noted(state: State, capsys: pytest.CaptureFixture[str]) -> None:
    """One address that the server does not know takes nothing from the others."""

    class Choosy(Post):
        async def handle_RCPT(self, server: Any, session: Any, envelope: Envelope, to: str, options: Any) -> str:  # noqa: N802
            if to.startswith("d@"):
                return "550 unknown"
            envelope.rcpt_tos.append(to)
            return "250 OK"

    with mail_server(Choosy()) as port:
        configured(state, EMAIL.format(port=port))
        assert notifications.tell(state, outcome()) == ["e-mail 1"]
    assert "took the letter, but not for d@e.f" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("result", "words"),
    [("promoted", "promoted"), ("kept", "not promoted"), ("undecided", "undecided"), ("skipped", "skipped")],
)
def test_the_subject_cannot_be_misread(result: str, words: str) -> None:
    """Of a challenger that did not win it is not said that it was kept."""
    assert channels.subject(outcome(result)) == f"digits version 7: {words}, accuracy 0.9800"
