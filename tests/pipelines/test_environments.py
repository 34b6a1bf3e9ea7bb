"""configs/environments/*.toml: what they may say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines.environments import image, load, server
from pipelines.environments.server import SERVICE_ACCOUNT_TOKEN, ServiceAccount, Token, token
from trainer.errors import RecipeError, UsageError

ROOT = Path(__file__).resolve().parents[2]
PLAIN = """
[server]
endpoint = "https://kfp.test/pipeline/"

[state]
claim = "state"
"""


def written(folder: Path, text: str) -> str:
    file = folder / "try.toml"
    file.write_text(text)
    return str(file)


@pytest.mark.parametrize("file", sorted((ROOT / "configs" / "environments").glob("*.toml")), ids=lambda f: f.name)
def test_the_examples_can_be_read(file: Path) -> None:
    """They are named as their files, and no step of theirs waits for an image that is not named."""
    environment = load(str(file))
    assert environment.name == file.stem
    assert all(image(environment, kind, allow_tags=True) for kind in ("light", "cpu", "gpu"))


def test_what_is_left_out_has_a_default(tmp_path: Path) -> None:
    """An environment needs an endpoint and a volume; it shows the server nothing, and takes no name but the file's."""
    environment = load(written(tmp_path, PLAIN))
    assert (environment.name, environment.server.address) == ("try", "https://kfp.test/pipeline")
    assert environment.server.ui_address == environment.server.address
    assert environment.server.authentication.name == "none"
    assert environment.step_variables == {}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("[run]\nservice_acount = 'a'", "run.service_acount: unknown key. Did you mean 'service_account'?"),
        ("[steps.trian]\ncpu = '4'", "steps.trian: unknown key. Did you mean 'train'?"),
        ("[steps.train]\ngpus = 1", "steps.train.gpus: unknown key. Did you mean 'gpu'?"),
        ("[steps.train]\ncpu = '4 cores'", "steps.train.cpu: received '4 cores'"),
        ("[steps.train]\nmemory = '16GB'", "steps.train.memory: received '16GB'"),
        ("[steps.train]\ngpu = { count = 0 }", "steps.train.gpu.count: received 0"),
        ("[variables]\nSMTP_PASSWORD = 'x'", "SMTP_PASSWORD looks like a secret"),
        ("[[secrets]]\nsecret = 's'", "needs either variables or mount"),
        ("[[secrets]]\nsecret = 's'\nmount = '/s'\nsteps = ['trian']", "Did you mean 'train'?"),
        ("[images]\ndigests = 'none.json'", "no image digests at 'none.json'"),
    ],
)
def test_what_cannot_be_is_named_with_the_nearest_that_can(tmp_path: Path, more: str, said: str) -> None:
    """As in a recipe."""
    with pytest.raises(RecipeError) as error:
        load(written(tmp_path, PLAIN + more))
    assert said in str(error.value)


LONG = "x" * 64


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("[run]\nservice_account = 'Inception Steps'", "run.service_account: received 'Inception Steps'"),
        ("[run]\nlabels = { 'the team' = 'a' }", "run.labels.the team: received 'the team'"),
        ("[run]\nlabels = { team = 'a b' }", "run.labels.team: received 'a b'"),
        (f"[run]\nlabels = {{ team = '{LONG}' }}", "up to 63 letters"),
        ("[run]\nlabels = { inception-step = 'a' }", "has the label inception-step already"),
        ("[run]\nuser = 0", "run.user: received 0"),
        ("[run]\nkeep_hours = 1e-9", "run.keep_hours: received 1e-09"),
        ("[run]\ndeadline_hours = 1e12", "run.deadline_hours: received 1000000000000.0"),
        ("[images]\nlight = 'https://registry.test/light:1'", "without https:// before it"),
        ("[images]\nlight = ''", "images.light: received ''"),
        ("[images]\nregistry = 'registry.test/vision/'", "images.registry: received 'registry.test/vision/'"),
        ("[images]\npull_secrets = ['a b']", "images.pull_secrets.0: received 'a b'"),
        ("[store]\nmlflow = 'mlflow.test'", "store.mlflow: received 'mlflow.test'"),
        ("[store]\nledgers = 'ledgers'", "store.ledgers: received 'ledgers'"),
        ("[store]\nmlflow = 'https://me:sesame@mlflow.test'", "leave user and password out"),
        ("[store]\nstate = 'gs://b/s'", "[store] state needs [store] mlflow"),
        ("[steps.train]\ncpu = '0'", "Leave it out where nothing is asked for"),
        ("[steps.train]\nmemory = '0.0Gi'", "Leave it out where nothing is asked for"),
        ("[steps.train]\nmemory = '100K'", "Write it as 16Gi or 500M"),
        ("[steps.train]\ncpu = '8'\ncpu_limit = '4500m'", "asks for more than cpu_limit"),
        ("[steps.train]\nmemory = '1Gi'\nshared_memory = '2G'", "shared_memory = '2G' counts as memory"),
        ("[steps.train]\ngpu = { type = '' }", "steps.train.gpu.type: received ''"),
        ("[steps.train]\ntimeout_minutes = 0.001", "steps.train.timeout_minutes: received 0.001"),
        ("[steps.train]\ntolerations = [{ key = 'a', value = 'b' }]", 'needs operator = "Equal" with a value'),
        ("[steps.train]\ntolerations = [{ key = 'a', operator = 'Equal' }]", '"Exists" without one'),
        ("[steps.train]\nnode_selector = { 'a b' = 'c' }", "steps.train.node_selector.a b: received 'a b'"),
        ("[variables]\n'1 NAME' = 'x'", "variables.1 NAME: received '1 NAME'"),
        ("[variables]\nINCEPTION_IMAGE = 'x'", "would have the variable 'INCEPTION_IMAGE' twice"),
        ("[variables]\nMLFLOW_TRACKING_URI = 'http://b'\n[store]\nmlflow = 'http://a'", "'MLFLOW_TRACKING_URI' twice"),
        ("[[secrets]]\nsecret = 's'\nvariables = { 'A B' = 'c' }", "received 'A B'"),
        ("[[secrets]]\nsecret = 's'\nvariables = { A = 'c d' }", "received 'c d'"),
        ("[[secrets]]\nsecret = 's'\nmount = '/'", "secrets.0.mount: received '/'"),
        ("[[secrets]]\nsecret = 's'\nmount = '/s'\nsteps = []", "secrets.0.steps"),
        ("[[secrets]]\nsecret = 'a.b'\nmount = '/s'", "the secret 'a.b' cannot be mounted"),
        (f"[[secrets]]\nsecret = '{LONG}'\nmount = '/s'", "no more than 63 characters"),
        ("[[secrets]]\nsecret = 'state'\nmount = '/s'", "would have the volume 'state' twice"),
        ("[[secrets]]\nsecret = 's'\nmount = '/inception/'", "would have the folder '/inception' twice"),
        ("[[secrets]]\nsecret = 's'\nmount = '/gcs'", "would have the folder '/gcs' twice"),
        ("[[secrets]]\nsecret = 's'\nmount = '/a'\n[[secrets]]\nsecret = 's'\nmount = '/b'", "the volume 's' twice"),
        (
            "[[secrets]]\nsecret = 's'\nvariables = { A = 'a' }\n[[secrets]]\nsecret = 't'\nvariables = { A = 'a' }",
            "the step 'check' would have the variable 'A' twice",
        ),
    ],
)
def test_what_the_cluster_would_refuse_is_refused_here(tmp_path: Path, more: str, said: str) -> None:
    """It would find out when the step is due, after hours of training; secrets are not in the words for it."""
    with pytest.raises(RecipeError) as error:
        load(written(tmp_path, PLAIN + more))
    assert said in str(error.value)
    assert "sesame" not in str(error.value)


def test_what_two_steps_are_given_is_not_given_twice(tmp_path: Path) -> None:
    """A secret as a file for one step and as variables for all, a folder of two steps."""
    more = """
[[secrets]]
secret = "s"
variables = { A = "a" }

[[secrets]]
secret = "s"
mount = "/s"
steps = ["train"]

[[secrets]]
secret = "t"
mount = "/s"
steps = ["report"]

[store]
ledgers = "/ledgers"

[run]
labels = { "example.com/team" = "Vision_1.0", empty = "" }
"""
    assert len(load(written(tmp_path, PLAIN + more)).secrets) == 3


def test_a_state_that_all_share_is_a_volume_or_a_store(tmp_path: Path) -> None:
    """One of them must be named; a volume may be in front of a store."""
    nothing = PLAIN.replace('claim = "state"', "")
    store = '[store]\nstate = "gs://b/s"\nmlflow = "http://mlflow.test"\n'
    with pytest.raises(RecipeError, match="name a volume"):
        load(written(tmp_path, nothing))
    environment = load(written(tmp_path, nothing + store))
    assert environment.state.claim is None
    assert environment.step_variables == {"INCEPTION_STORE": "gs://b/s", "MLFLOW_TRACKING_URI": "http://mlflow.test"}
    assert load(written(tmp_path, PLAIN + store)).state.claim == "state"


@pytest.mark.parametrize("address", ['mlflow = "http://mlflow.test"\n', ""], ids=["named", "left out"])
def test_where_kubeflow_tells_the_steps_of_mlflow_nobody_else_does(tmp_path: Path, address: str) -> None:
    """A variable would be set twice; with a store as with a volume, and whether or not the address is known here."""
    store = f'[store]\nstate = "gs://b/s"\nmlflow_plugin = true\n{address}'
    for state in (PLAIN, PLAIN.replace('claim = "state"', "")):
        environment = load(written(tmp_path, state + store))
        assert environment.step_variables == {"INCEPTION_STORE": "gs://b/s"}
        assert (environment.store.mlflow is not None) == bool(address)


@pytest.mark.parametrize(
    "endpoint",
    [
        "kfp.test:8888",
        "ftp://kfp.test",
        "http://kfp.test:port",
        "http://kfp.test:99999",
        "http://kfp test",
        "http://kfp.test/#/runs",
        "http://me:sesame@kfp.test",
        "",
    ],
)
def test_an_endpoint_is_an_address(tmp_path: Path, endpoint: str) -> None:
    """Without what a browser has behind it, and without a password, which the error does not show either."""
    with pytest.raises(RecipeError, match=r"server\.endpoint: received") as error:
        load(written(tmp_path, PLAIN.replace("https://kfp.test/pipeline/", endpoint)))
    assert "sesame" not in str(error.value)


def test_inside_the_cluster_there_is_another_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Kubeflow has mounted its token, which is shown there."""
    lines = (
        'inside = "http://ml-pipeline.kubeflow.svc:8888/"\nauthentication = { name = "token", variable = "KFP_TOKEN" }'
    )
    at = load(written(tmp_path, PLAIN.replace("[state]", f"{lines}\n[state]"))).server
    monkeypatch.setattr(server, "SERVICE_ACCOUNT_TOKEN", str(tmp_path / "token"))
    assert (at.address, at.shown.name) == ("https://kfp.test/pipeline", "token")
    (tmp_path / "token").write_text("mounted")
    assert (at.address, at.shown.name) == ("http://ml-pipeline.kubeflow.svc:8888", "service_account")
    assert isinstance(at.shown, ServiceAccount)
    assert token(at.shown) == "mounted"
    plain = load(written(tmp_path, PLAIN)).server
    assert (plain.address, plain.shown.name) == ("https://kfp.test/pipeline", "none")


@pytest.mark.parametrize(
    "pushed",
    ["[]", '"light"', '{"light": null}', '{"light": 3}', '{"light": "https://registry.test/light"}', "{", "\xff"],
)
def test_digests_that_make_no_sense_are_no_images(tmp_path: Path, pushed: str) -> None:
    """The file is named; nothing is taken for an image that is none."""
    (tmp_path / "images.json").write_bytes(pushed.encode("latin-1"))
    with pytest.raises(RecipeError, match=r"images\.json") as error:
        image(load(written(tmp_path, PLAIN + "[images]\ndigests = 'images.json'")), "light")
    assert "Push the images again." in str(error.value)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('authentication = { name = "tokn" }', "Did you mean 'token'?"),
        ('time_zone = "Europe/Berln"', "Did you mean 'Europe/Berlin'?"),
        ('authentication = { name = "token" }', "needs either variable or file"),
        ('endpont = "x"', "Did you mean 'endpoint'?"),
    ],
)
def test_the_server_section_is_read_as_strictly(tmp_path: Path, line: str, said: str) -> None:
    """The key is named with the section."""
    with pytest.raises(RecipeError, match="server") as error:
        load(written(tmp_path, PLAIN.replace("[state]", f"{line}\n[state]")))
    assert said in str(error.value)


def test_an_environment_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The nearest of configs/environments is named."""
    monkeypatch.chdir(ROOT)
    with pytest.raises(RecipeError) as error:
        load("prd")
    assert "Did you mean 'prod'?" in str(error.value)


def test_a_tag_is_no_address_unless_it_is_allowed(tmp_path: Path) -> None:
    """A tag may be moved."""
    environment = load(written(tmp_path, PLAIN + "[images]\nlight = 'registry.test:5000/light:latest'"))
    with pytest.raises(RecipeError, match="without a digest"):
        image(environment, "light")
    assert image(environment, "light", allow_tags=True) == "registry.test:5000/light:latest"
    with pytest.raises(RecipeError, match="has no image 'gpu'"):
        image(environment, "gpu", allow_tags=True)


def test_the_file_of_digests_goes_first(tmp_path: Path) -> None:
    """What was pushed is what runs."""
    pushed = {kind: f"registry.test/{kind}@sha256:{'a' * 64}" for kind in ("light", "cpu", "gpu")}
    (tmp_path / "images.json").write_text(json.dumps(pushed))
    environment = load(written(tmp_path, PLAIN + "[images]\nlight = 'light:latest'\ndigests = 'images.json'"))
    assert {kind: image(environment, kind) for kind in pushed} == pushed


def test_a_token_is_read_when_it_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a variable or a file; where it is missing, its place is named."""
    file = tmp_path / "token"
    file.write_text("first\n")
    shown = Token(name="token", file=str(file))
    assert token(shown) == "first"
    file.write_text("second")
    assert token(shown) == "second"
    monkeypatch.setenv("KFP_TOKEN", "third")
    assert token(Token(name="token", variable="KFP_TOKEN")) == "third"
    monkeypatch.delenv("KFP_TOKEN")
    with pytest.raises(UsageError, match="KFP_TOKEN is not set"):
        token(Token(name="token", variable="KFP_TOKEN"))
    with pytest.raises(UsageError, match=SERVICE_ACCOUNT_TOKEN):
        token(ServiceAccount(name="service_account"))


@pytest.mark.parametrize("secret", ["open\nsesame", "öpen sesame", "open\tsesame", "open sesame€"])
def test_a_token_that_cannot_be_sent_is_refused_and_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    """HTTP's own words for a header that cannot be would show it."""
    file = tmp_path / "token"
    file.write_text(secret, encoding="utf-8")
    monkeypatch.setenv("KFP_COOKIE", secret)
    with pytest.raises(UsageError, match="more than one line, or characters") as by_file:
        token(Token(name="token", file=str(file)))
    with pytest.raises(UsageError, match="more than one line, or characters") as by_variable:
        server.variable("KFP_COOKIE")
    assert "sesame" not in f"{by_file.value}{by_variable.value}"
