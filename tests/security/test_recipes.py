"""Recipes and environments as somebody with bad intentions would write them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipelines import environments
from trainer import config
from trainer.errors import RecipeError

ROOT = Path(__file__).resolve().parents[2]
PLAIN = (ROOT / "configs" / "digits.toml").read_text()

BOMBS = {
    "nested JSON": "'{\"data\":' * 100_000",
    "nested TOML": "'a=' + '[' * 100_000",
    "a dotted key": "'a.' * 200_000 + 'b=1'",
    "a dotted key with blanks": "'a . ' * 100_000 + 'b=1'",
    "a dotted key in quotes": "'\"a b\".' * 100_000 + 'b=1'",
    "a dotted key in an inline table": "'a = {' + \"'a'.\" * 100_000 + 'b=1}'",
    "a dotted heading": "'[' + 'a.' * 100_000 + 'b]'",
    "a number without end": "'a=' + '9' * 100_000",
    "a million characters and one": "'#' * 1_000_001",
}


def test_a_recipe_bomb_is_refused_in_little_memory() -> None:
    """tomllib takes 160 GB for a dotted key of 400 kB. Each of these is an error that says so, within 1 GB in all."""
    program = (
        "import resource\nresource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))\n"
        "from trainer import config\nfrom trainer.errors import RecipeError\n"
        f"for name, text in {BOMBS!r}.items():\n"
        "    try:\n        config.parse(eval(text))\n"
        "    except RecipeError as error:\n        print(name, '|', str(error)[:60].replace(chr(10), ' '))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-500:]
    assert [line.partition(" |")[0] for line in done.stdout.splitlines()] == list(BOMBS)


def test_a_recipe_may_have_a_key_as_deep_as_any_real_one() -> None:
    """The bound on keys is far from what is written, and words with many points are no keys."""
    points = ".".join("abcdefghij" * 6)
    assert config.parse(f"# {points}\n{PLAIN}", [f'data.source="folder:/{points}"']).data.source.endswith(points)


@pytest.mark.parametrize(
    "override",
    [
        'data.source="folder:sftp://user:open-sesame@host/images"',
        'data.data_dir="https://open-sesame@host/data"',
        'model.init="champion"\nresources.checkpoints="s3://key:open-sesame@bucket/prefix"',
    ],
)
def test_a_recipe_with_a_password_in_an_address_is_refused(override: str) -> None:
    """It would be in MLflow's parameters, in the pipeline's parameters and on every run card; nor is it told."""
    with pytest.raises(RecipeError, match="user or a password") as error:
        config.parse(PLAIN, override.splitlines())
    assert "open-sesame" not in str(error.value)


@pytest.mark.parametrize("name", ["../../etc/x", "a/b", "a\nb", "a b", ".hidden", "a\x1b[2J", "=cmd", "", "x" * 101])
def test_the_name_of_a_model_is_a_plain_word(name: str) -> None:
    """It becomes the name of a ledger's file, of an experiment and a line of an e-mail."""
    values = config.parse(PLAIN).model_dump(mode="json")
    values["registry"]["name"] = name
    with pytest.raises(RecipeError, match=r"registry\.name"):
        config.parse(config.canonical_json(values))


@pytest.mark.parametrize(
    "init",
    ["timm:/x/model.pt", "timm:gs://b/model.pth", "timm:model.bin", "timm:model.pkl", "pickle:/x", "torch:/x.pt"],
)
def test_weights_in_pickles_are_refused_by_their_name(init: str) -> None:
    """Before anything of them is read."""
    with pytest.raises(RecipeError, match=r"pickled|unknown"):
        config.parse(PLAIN, ["model.variant=inception_v4", "model.image_size=299", f'model.init="{init}"'])


def test_a_thousand_mistakes_are_explained_in_fifty_lines() -> None:
    """Every one of them is looked up among the known keys, which takes time."""
    with pytest.raises(RecipeError) as error:
        config.parse(PLAIN + "".join(f"[unknown{number}]\n" for number in range(1000)))
    assert len(str(error.value).splitlines()) <= 55


ENVIRONMENT = """
[server]
endpoint = "https://kfp.test"
[images]
light = "l"
cpu = "c"
gpu = "g"
[state]
claim = "s"
"""


@pytest.mark.parametrize(
    "more",
    [
        "[store]\nmlflow = 'https://user:open-sesame@mlflow.test'",
        "[variables]\nDATABASE = 'postgresql://user:open-sesame@db/x'",
        "[variables]\nSLACK_WEBHOOK = 'open-sesame'",
        "[variables]\nGITHUB_TOKEN = 'open-sesame'",
        "[variables]\nMY_PRIVATE_KEY = 'open-sesame'",
        "[variables]\nSESSION_COOKIE = 'open-sesame'",
    ],
)
def test_an_environment_with_a_secret_in_it_is_refused(tmp_path: Path, more: str) -> None:
    """What is in it is in the pipeline, which everybody may read; and the message does not repeat it."""
    file = tmp_path / "here.toml"
    file.write_text(ENVIRONMENT + more)
    with pytest.raises(RecipeError) as error:
        environments.load(str(file))
    assert "open-sesame" not in str(error.value)


def test_an_environment_may_name_where_a_secret_lies() -> None:
    """A file that is mounted is no secret by itself."""
    from trainer.errors import is_secret

    assert not is_secret("KFP_TOKEN_FILE")
    assert not is_secret("GOOGLE_APPLICATION_CREDENTIALS")
    assert is_secret("kfp_token")


@pytest.mark.parametrize(
    "address",
    [
        "http://169.254.169.254/computeMetadata/v1/",
        "https://host/images",
        "ftp://host/images",
        "simplecache::http://host/images",
        "zip://images::http://host/images.zip",
        "tar://images::memory://images.tar",
        "reference://images",
        "github://host/images",
    ],
)
def test_no_address_makes_a_step_ask_a_web_server(address: str) -> None:
    """Nor open an archive on the way: fsspec would do both."""
    from trainer.errors import InceptionError
    from trainer.storage import place

    with pytest.raises(InceptionError, match="there is no store"):
        place(address)
