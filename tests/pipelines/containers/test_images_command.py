"""`inception images`, through the SDK's own client against an engine of the tests' own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.cli import main
from pipelines.containers import run
from trainer import config
from trainer.errors import UsageError
from trainer.state import State

RECIPE = Path(__file__).resolve().parents[3] / "configs" / "digits.toml"
REGISTRY = "registry.test:5000/vision"
KINDS = ("light", "cpu", "gpu", "mlflow")
TAG = "1.2.3-0123456789ab"
ENVIRONMENT = """
[server]
endpoint = "http://localhost:8888"

[state]
claim = "state"

[images]
"""

Ask = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Ask:
    """`inception images …` in an empty folder: exit status, standard output, standard error."""
    monkeypatch.chdir(tmp_path)

    def asked(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["images", *words])
        said = capfd.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return asked


@pytest.fixture
def full_engine(docker_engine: Any) -> Any:
    for kind in KINDS:
        docker_engine.has(f"inception-{kind}:latest")
    return docker_engine


def test_the_list_shows_what_each_image_was_built_of(full_engine: Any, ask: Ask) -> None:
    """Tag, version and commit, size and id, for people and as JSON; what is not the project's is left out."""
    full_engine.has("somebody/inception-light:latest")
    status, out, _ = ask("list")
    assert status == 0
    assert [line.split()[:4] for line in out.splitlines()[1:]] == [
        [f"inception-{kind}:latest", TAG, "300", "MB"] for kind in KINDS
    ]
    found = json.loads(ask("list", "--json")[1])
    assert [one["kind"] for one in found] == list(KINDS)


def test_a_list_of_nothing(docker_engine: Any, ask: Ask) -> None:
    """Where nothing was built, what builds it is named."""
    assert "make images" in ask("list")[1]


def test_a_push_writes_the_digests_that_the_registry_gave(full_engine: Any, ask: Ask) -> None:
    """Every image gets the tag VERSION-COMMIT, and the file holds addresses by digest, as environments read them."""
    status, out, err = ask("push", "--registry", REGISTRY, "-o", "digests.json")
    assert status == 0
    addresses = {
        kind: f"{REGISTRY}/inception-{kind}@{full_engine.digest(f'{REGISTRY}/inception-{kind}')}" for kind in KINDS
    }
    assert json.loads(Path("digests.json").read_text()) == addresses
    assert out.split() == list(addresses.values())
    assert full_engine.pushed == [f"{REGISTRY}/inception-{kind}:{TAG}" for kind in KINDS]
    assert [tag for _, tag in full_engine.tagged] == full_engine.pushed
    assert "wrote digests.json" in err


def test_an_environment_reads_what_was_pushed_for_it(full_engine: Any, ask: Ask, tmp_path: Path) -> None:
    """Registry and file come from the environment, which can be loaded before its first push and finds it after."""
    from pipelines.environments import image, load

    Path("here.toml").write_text(ENVIRONMENT + f'registry = "{REGISTRY}"\ndigests = "here.images.json"\n')
    assert ask("push", "--environment", "here.toml")[0] == 0
    assert image(load("here.toml"), "gpu").startswith(f"{REGISTRY}/inception-gpu@sha256:")


def test_pushing_one_image_keeps_what_is_known_of_the_others(full_engine: Any, ask: Ask) -> None:
    """The file is added to, image by image."""
    Path("images.json").write_text('{"gpu": "kept@sha256:1", "light": "old"}')
    assert ask("push", "light", "--registry", REGISTRY)[0] == 0
    known = json.loads(Path("images.json").read_text())
    assert known["gpu"] == "kept@sha256:1"
    assert known["light"].startswith(f"{REGISTRY}/inception-light@sha256:")


def test_a_push_that_breaks_off_keeps_what_was_pushed(full_engine: Any, ask: Ask) -> None:
    """A registry that dies at the third image: the digests of two are in the file, and a second push completes it."""
    full_engine.dies_at = "gpu"
    status, _, err = ask("push", "--registry", REGISTRY)
    assert status == 1
    assert f"could not be pushed to {REGISTRY}/inception-gpu: the engine broke off" in " ".join(err.split())
    assert list(json.loads(Path("images.json").read_text())) == ["light", "cpu"]
    full_engine.dies_at = None
    assert ask("push", "gpu", "mlflow", "--registry", REGISTRY)[0] == 0
    assert list(json.loads(Path("images.json").read_text())) == list(KINDS)


def test_images_of_two_commits_are_not_pushed_together(docker_engine: Any, ask: Ask) -> None:
    """Steps of one pipeline have one code; the MLflow server, which has none of it, may be of another commit."""
    for kind, commit in (("light", "a" * 40), ("cpu", "b" * 40), ("mlflow", "c" * 40)):
        docker_engine.has(f"inception-{kind}:latest", commit=commit)
    status, _, err = ask("push", "light", "cpu", "--registry", REGISTRY)
    assert status == 2
    assert "inception-light of 1.2.3-aaaaaaaaaaaa, inception-cpu of 1.2.3-bbbbbbbbbbbb" in " ".join(err.split())
    assert docker_engine.pushed == []
    assert ask("push", "light", "mlflow", "--registry", REGISTRY)[0] == 0


def test_a_push_says_what_no_commit_has(docker_engine: Any, ask: Ask) -> None:
    """Images of a checkout with changes are pushed under a name that says so, with a remark; others without one."""
    docker_engine.has("inception-light:latest", commit=f"{'a' * 40}-dirty")
    status, _, err = ask("push", "light", "--registry", REGISTRY)
    assert status == 0
    assert "changes that no commit has: inception-light:latest" in err
    assert docker_engine.pushed == [f"{REGISTRY}/inception-light:1.2.3-aaaaaaaaaaaa-dirty"]
    docker_engine.has("inception-light:latest")
    assert "changes that no commit has" not in ask("push", "light", "--registry", REGISTRY)[2]


def test_a_refusal_in_the_middle_of_a_good_answer_is_a_failure(full_engine: Any, ask: Ask) -> None:
    """An engine answers 200 and reports the registry's refusal in the text; nothing is written then."""
    full_engine.push_error = "denied: this team may not write here"
    status, _, err = ask("push", "light", "--registry", REGISTRY)
    assert status == 1
    assert "this team may not write here" in err
    assert "docker login" in err
    assert not Path("images.json").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("push",), "no registry to push to"),
        (("push", "--environment", "bare.toml"), "names no file for the digests"),
        (("push", "--environment", "bare.toml", "-o", "x.json"), "no registry to push to"),
        (("push", "--registry", REGISTRY), "has no image inception-cpu, inception-gpu, inception-mlflow"),
        (("push", "light", "--registry", REGISTRY, "-o", "list.json"), "'list.json' cannot be read"),
        (("push", "light", "--registry", REGISTRY, "-o", "no/such/x.json"), "'no/such/x.json' cannot be written"),
        (("push", "heavy", "--registry", REGISTRY), "'heavy' is not one of"),
        (("push", "light", "--registry", f"https://{REGISTRY}"), "is not how images name a registry"),
        (("push", "light", "--registry", "registry.test/Vision"), "is not how images name a registry"),
        (("push", "light", "--registry", "registry.test/vision:1.2"), "is not how images name a registry"),
        (("push", "light", "--registry", ""), "is not how images name a registry"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_wrong_use(docker_engine: Any, ask: Ask, words: tuple[str, ...], said: str) -> None:
    """What is missing is named, with exit status 2."""
    docker_engine.has("inception-light:latest")
    Path("bare.toml").write_text(ENVIRONMENT)
    Path("list.json").write_text("[1]")
    status, _, err = ask(*words)
    assert status == 2
    assert said in " ".join(err.split())
    assert docker_engine.pushed == []


def test_no_engine_answers(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has no engine is told so, not shown a traceback."""
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:9")
    status, _, err = ask("list")
    assert status == 2
    assert "No Docker engine answers" in err


def test_a_run_without_the_images_does_not_begin(docker_engine: Any, ask: Ask, tmp_path: Path) -> None:
    """kfp would try to pull what it does not find: `run --target docker` looks first, and says what builds it."""
    with pytest.raises(SystemExit) as ended:
        main(["run", str(RECIPE), "--target", "docker", "--state", str(tmp_path / "state")])
    assert ended.value.code == 2


def test_a_run_on_images_of_two_commits_does_not_begin(docker_engine: Any, ask: Ask, tmp_path: Path) -> None:
    """One step would hand on what the next, of other code, reads otherwise."""
    for kind, commit in (("light", "a" * 40), ("cpu", "b" * 40)):
        docker_engine.has(f"inception-{kind}:latest", commit=commit)
    with pytest.raises(UsageError, match="not built of one commit"):
        run(config.load(str(RECIPE)), State.open(tmp_path / "state"), lambda event: None)


def test_an_image_without_labels_is_not_pushed(docker_engine: Any, ask: Ask) -> None:
    """A tag says what an image was built of; one that does not know was not built by `make images`."""
    docker_engine.has("inception-light:latest", version="", commit="")
    status, _, err = ask("push", "light", "--registry", REGISTRY)
    assert status == 2
    assert "neither version nor commit" in err
    assert docker_engine.pushed == []
