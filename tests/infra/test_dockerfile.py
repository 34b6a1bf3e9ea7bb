"""What the Dockerfiles promise, read from their text: tests/e2e/test_docker.py builds and runs what they make."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STEPS, SERVER = ROOT / "infra" / "images" / "Dockerfile", ROOT / "infra" / "mlflow" / "Dockerfile"
IMAGES = ("light", "cpu", "gpu")
LOCKS = ("light.txt", "run.txt", "gpu.txt", "mlflow.txt")


@dataclass
class Stage:
    name: str
    base: str
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def said(self, word: str) -> list[str]:
        return [text for instruction, text in self.instructions if instruction == word]


def read(file: Path) -> tuple[dict[str, str], dict[str, Stage]]:
    """The arguments before the first stage with their defaults, and the stages by name."""
    text = re.sub(r"\\\n", " ", re.sub(r"(?m)^#.*\n", "", file.read_text()))
    arguments: dict[str, str] = {}
    stages: dict[str, Stage] = {}
    stage = None
    for line in filter(None, map(str.strip, text.splitlines())):
        word, _, rest = line.partition(" ")
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            stage = stages[name] = Stage(name, base)
        elif stage is None:
            name, _, default = rest.partition("=")
            arguments[name] = default
        else:
            stage.instructions.append((word, rest.strip()))
    return arguments, stages


READ = {file: read(file) for file in (STEPS, SERVER)}
FILE_OF = dict.fromkeys(IMAGES, STEPS) | {"mlflow": SERVER}
ALL = [
    pytest.param(file, stage, id=f"{file.parent.name}-{stage.name}")
    for file, (_, stages) in READ.items()
    for stage in stages.values()
]


def lineage(image: str, name: str | None = None) -> list[Stage]:
    """An image's stage (or another of its file), and those it begins with."""
    _, stages = READ[FILE_OF[image]]
    stage = stages[name or image]
    return [stage, *(lineage(image, stage.base) if stage.base in stages else [])]


def locked(file: str) -> set[tuple[str, str]]:
    """(package, version with its marker) of a lock file."""
    text = (ROOT / "requirements" / file).read_text()
    return set(re.findall(r"(?m)^([a-z0-9._-]+)==([^\\\n]+?) *\\?$", text))


@pytest.mark.parametrize(("file", "stage"), ALL)
def test_every_stage_begins_with_something_pinned(file: Path, stage: Stage) -> None:
    """A stage begins with another one, with nothing, or with a base image by a version that is not `latest`."""
    arguments, stages = READ[file]
    base = stage.base
    for name, default in arguments.items():
        base = base.replace(f"${{{name}}}", default)
    if base in stages or base == "scratch":
        return
    _, _, tag = base.partition(":")
    assert re.match(r"\d+\.\d+", tag), f"{stage.name} begins with {base}"


@pytest.mark.parametrize("image", FILE_OF)
def test_images_run_as_nobody_in_particular(image: str) -> None:
    """The user of every image is set, by number, and is not root: Kubernetes' runAsNonRoot can tell only by number."""
    users = [user for stage in lineage(image) for user in stage.said("USER")]
    assert users
    assert int(users[0]) > 0


@pytest.mark.parametrize("image", FILE_OF)
def test_images_say_what_they_were_built_of(image: str) -> None:
    """Every image is labelled with version and commit; the steps' know their commit and have no entrypoint."""
    stages = lineage(image)

    def all_of(word: str) -> str:
        return " ".join(text for stage in stages for text in stage.said(word))

    assert f'org.opencontainers.image.title="inception-{image}"' in stages[0].said("LABEL")[0]
    assert 'org.opencontainers.image.version="${VERSION}"' in all_of("LABEL")
    assert 'org.opencontainers.image.revision="${COMMIT}"' in all_of("LABEL")
    assert " CMD " in all_of("HEALTHCHECK")
    if image in IMAGES:
        assert 'INCEPTION_GIT_COMMIT="${COMMIT}"' in all_of("ENV")
        assert "inception --version" in all_of("HEALTHCHECK")
        assert all_of("ENTRYPOINT") == ""  # kfp.local's commands would become its arguments


@pytest.mark.parametrize("image", FILE_OF)
def test_images_carry_no_installer(image: str) -> None:
    """What an image itself runs installs nothing, and what it begins with is a system whose pip was removed."""
    stages = lineage(image)
    assert [text for stage in stages for text in stage.said("RUN")] == []
    assert stages[-1].said("COPY") == ["--from=system / /"]
    assert "/usr/local/bin/pip*" in lineage(image, "system")[0].said("RUN")[-1]


def test_packages_are_installed_by_hash_or_not_from_an_index() -> None:
    """Every pip command checks hashes, or looks at no index at all."""
    commands = [
        command
        for _, stages in READ.values()
        for stage in stages.values()
        for text in stage.said("RUN")
        for command in text.split("&&")
        if re.search(r"\bpip\b.* (install|wheel) ", command)
    ]
    assert len(commands) >= len(LOCKS)
    for command in commands:
        words = shlex.split(command)
        assert "--require-hashes" in words or "--no-index" in words, command
        assert "--no-deps" in words, command


def test_no_index_is_named() -> None:
    """Neither Dockerfiles nor lock files hold an address, and index settings are arguments without a default."""
    for file in (*READ, *(ROOT / "requirements" / name for name in LOCKS)):
        assert not re.search(r"https?://|file://|--(extra-)?index-url|--find-links", file.read_text()), file
    for _, stages in READ.values():
        for stage in stages.values():
            for argument in stage.said("ARG"):
                assert "=" not in argument, f"{stage.name}: {argument}"


@pytest.mark.parametrize("image", FILE_OF)
def test_index_settings_stay_in_the_stages_that_are_thrown_away(image: str) -> None:
    """An image's own history cannot name the index that its packages came from."""
    assert not [text for stage in lineage(image) for text in stage.said("ARG") if text.startswith("PIP_")]


@pytest.mark.parametrize("file", READ, ids=lambda file: file.parent.name)
def test_the_classic_builder_understands_it(file: Path) -> None:
    """Nothing needs BuildKit: no syntax line, no mounts, no secrets, no text in place of a file."""
    assert not re.search(r"(?im)^# *syntax *=|--mount|--secret|--link|--chmod|--pull|<<", file.read_text())


@pytest.mark.parametrize(
    ("file", "least"),
    [(STEPS, {"trainer", "components", "pipelines", "pyproject.toml"}), (SERVER, {"requirements/mlflow.txt"})],
    ids=["images", "mlflow"],
)
def test_what_is_copied_is_let_in(file: Path, least: set[str]) -> None:
    """Everything that is copied from the project exists, and .dockerignore lets it in and keeps all else out."""
    rules = (ROOT / ".dockerignore").read_text().split("\n")
    let_in = [rule[1:] for rule in rules if rule.startswith("!")]
    assert "*" in rules
    copied = {
        word
        for stage in READ[file][1].values()
        for text in stage.said("COPY")
        if not text.startswith("--from")
        for word in text.split()[:-1]
    }
    assert least <= copied
    for path in copied:
        assert (ROOT / path).exists(), path
        parents = ["/".join(path.split("/")[:depth]) for depth in range(1, path.count("/") + 2)]
        assert any(fnmatch(parent, rule) for parent in parents for rule in let_in), path


@pytest.mark.parametrize("file", ["light.txt", "gpu.txt"])
def test_all_images_hold_the_same_versions(file: str) -> None:
    """What another lock file pins, the common one pins alike; NVIDIA's libraries are what `gpu` alone has."""
    own = {(name, version) for name, version in locked(file) - locked("run.txt") if not name.startswith("nvidia-")}
    assert own == set()


def test_the_server_holds_the_clients_versions() -> None:
    """What the MLflow server has of the steps' packages, it has in the same version: MLflow above all."""
    ours, theirs = (
        {(name, version.partition(" ;")[0]) for name, version in locked(file)} for file in ("run.txt", "mlflow.txt")
    )
    both = {name for name, _ in ours} & {name for name, _ in theirs}
    assert "mlflow" in both
    assert {(name, version) for name, version in theirs - ours if name in both} == set()


def test_only_the_gpu_lock_has_cuda() -> None:
    """The libraries of `tensorflow[and-cuda]` are pinned for the image `gpu`, and for no other."""
    cuda = {name: {one for one, _ in locked(name) if one.startswith("nvidia-c")} for name in LOCKS}
    assert {"nvidia-cublas-cu12", "nvidia-cudnn-cu12"} <= cuda["gpu.txt"]
    assert cuda["light.txt"] == cuda["run.txt"] == set()


def test_light_is_light() -> None:
    """The image `light` has neither TensorFlow nor what it does not need of the others' large packages."""
    names = {name for name, _ in locked("light.txt")}
    assert {"mlflow-skinny", "kfp", "matplotlib", "numpy"} <= names
    assert not names & {"tensorflow", "keras", "scipy", "pandas", "pyarrow", "scikit-learn", "mlflow", "onnxruntime"}
