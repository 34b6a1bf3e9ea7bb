"""configs/environments/*.toml: what they may say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines.environments import image, load
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
