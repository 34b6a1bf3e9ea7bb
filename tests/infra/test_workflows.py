"""The project's own continuous integration: valid, pinned, with the least rights, made of the Makefile's commands."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from pipelines.environments import load

ROOT = Path(__file__).resolve().parents[2]
GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
FORMS = sorted((GITHUB / "ISSUE_TEMPLATE").glob("*.yml"))
SCHEMAS = {
    "github-workflows": WORKFLOWS,
    "dependabot": [GITHUB / "dependabot.yml"],
    "github-issue-config": [path for path in FORMS if path.name == "config.yml"],
    "github-issue-forms": [path for path in FORMS if path.name != "config.yml"],
}
PINNED = re.compile(r"^\s*(?:- )?uses: (?:\./\S+|[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+)$")
TARGET = re.compile(r"^([a-z-]+):", re.M)
CALLED = re.compile(r"\bmake (?:--\S+ )*([a-z-]+)")
NEEDED = {
    *("setup", "lint", "types", "test", "test-slow", "test-docker", "infra", "images", "docs", "site"),
    *("audit", "sbom"),
    *("push", "pipeline", "package", "sums", "release-notes"),
}
"""Targets that workflows make: what a change must pass, what we stand on, what a release is made of."""
PUBLISHED = {"SHA256SUMS", "images.json", "retrain.yaml", "x.whl", "x.tar.gz", "sbom/inception-light.cdx.json"}
"""What lies in dist when a release is published."""
WRITES = {
    ("release.yml", "build"): {"packages", "id-token", "attestations"},
    ("release.yml", "publish"): {"contents"},
}
"""The jobs that may write, and what."""


@cache
def read(path: Path) -> dict[Any, Any]:
    found: dict[Any, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def jobs() -> list[tuple[Path, str, dict[str, Any]]]:
    return [(path, name, job) for path in WORKFLOWS for name, job in read(path)["jobs"].items()]


def steps() -> list[tuple[str, dict[str, Any]]]:
    return [(f"{path.name} {name}", step) for path, name, job in jobs() for step in job.get("steps", [])]


def workflow(name: str) -> dict[Any, Any]:
    return read(GITHUB / "workflows" / name)


@pytest.mark.parametrize("schema", SCHEMAS)
def test_a_file_is_what_github_takes(schema: str) -> None:
    """It is valid by the schema that the public catalogue of schemas has for it."""
    command = [str(Path(sys.executable).with_name("check-jsonschema")), "--builtin-schema", f"vendor.{schema}"]
    done = subprocess.run([*command, *map(str, SCHEMAS[schema])], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_nothing_unsafe_is_found() -> None:
    """zizmor finds no template that a stranger can fill, no credential left behind, no action that can be moved.

    Below medium it asks for a way to write `./` that is too new for the schema.
    """
    zizmor = str(Path(sys.executable).with_name("zizmor"))
    done = subprocess.run(
        [zizmor, "--offline", "--no-progress", "--color=never", "--min-severity=medium", str(GITHUB)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_action_is_pinned(path: Path) -> None:
    """By the whole digest of a commit, with the version that it is beside it."""
    used = [line for line in path.read_text(encoding="utf-8").splitlines() if re.search(r"\buses:", line)]
    assert used
    assert [line for line in used if not PINNED.match(line)] == []


def test_an_action_is_of_one_version_everywhere() -> None:
    """What one workflow uses of an action, the others use too."""
    used = {step["uses"].partition("@")[::2] for _, step in steps() if "uses" in step}
    assert len({name for name, _ in used}) == len(used)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_has_no_rights_of_its_own(path: Path) -> None:
    """It may read at most; a job that writes says so itself, and is in the table here."""
    assert set(read(path)["permissions"].values()) <= {"read"}
    for _, name, job in [one for one in jobs() if one[0] == path]:
        writes = {right for right, how in job.get("permissions", {}).items() if how == "write"}
        assert writes == WRITES.get((path.name, name), set())


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_does_not_run_for_ever_or_twice(path: Path) -> None:
    """Every job that has steps has a time limit, and a newer run of the same is told from the older one."""
    assert read(path)["concurrency"]["group"]
    assert [name for name, job in read(path)["jobs"].items() if "steps" in job and "timeout-minutes" not in job] == []


def test_no_credential_is_left_in_a_checkout() -> None:
    """What runs after a checkout finds no token in it."""
    checkouts = [step for _, step in steps() if step.get("uses", "").startswith("actions/checkout@")]
    assert checkouts
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


def test_no_strangers_code_runs_with_our_rights() -> None:
    """No workflow runs on `pull_request_target` or on another workflow's end. (YAML reads the key `on` as true.)"""
    for path in WORKFLOWS:
        assert not {"pull_request_target", "workflow_run"} & set(read(path)[True])


def test_no_secret_is_written_down() -> None:
    """The one secret in use is the token that GitHub makes for every run, and it reaches steps by their environment."""
    for path in [*WORKFLOWS, GITHUB / "release.toml"]:
        text = path.read_text(encoding="utf-8")
        assert set(re.findall(r"secrets\.(\w+)", text)) <= {"GITHUB_TOKEN"}
        assert not re.search(r"gh[pousr]_[A-Za-z0-9]{20}|github_pat_|AKIA[0-9A-Z]{16}|-----BEGIN", text)
    for where, step in steps():
        assert "${{" not in step.get("run", ""), where


def test_every_target_exists() -> None:
    """What a workflow makes is a target of the Makefile, with a line in `make help`."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    helped = {match.group(1) for match in re.finditer(r"^([a-z-]+):.*## ", makefile, re.M)}
    called = {name for _, step in steps() for name in CALLED.findall(step.get("run", ""))}
    assert called >= NEEDED
    assert called - helped == set()
    assert helped <= set(TARGET.findall(makefile))


def test_what_a_submission_must_pass_runs_in_ci() -> None:
    """Every command of .ci/run is one of ci.yml."""
    needed = set(re.findall(r"^make ([a-z-]+)", (ROOT / ".ci" / "run").read_text(encoding="utf-8"), re.M))
    here = {
        name
        for job in workflow("ci.yml")["jobs"].values()
        for step in job["steps"]
        for name in CALLED.findall(step.get("run", ""))
    }
    assert needed <= here


def test_all_pythons_are_tested() -> None:
    """The matrix has the versions that pyproject.toml promises."""
    promised = re.search(r'requires-python = ">=3\.(\d+),<3\.(\d+)"', (ROOT / "pyproject.toml").read_text())
    assert promised is not None
    first, end = map(int, promised.groups())
    matrix = workflow("ci.yml")["jobs"]["tests"]["strategy"]["matrix"]["python"]
    assert matrix == [f"3.{minor}" for minor in range(first, end)]


def test_a_release_waits_for_the_tests() -> None:
    """Nothing is built before the whole of ci.yml has passed, and nothing published before it was built."""
    release = workflow("release.yml")["jobs"]
    assert release["tests"]["uses"] == "./.github/workflows/ci.yml"
    assert release["build"]["needs"] == "tests"
    assert release["publish"]["needs"] == "build"


def test_all_that_a_release_is_made_of_is_published() -> None:
    """The compiled pipeline and the digests of its images among it."""
    [command] = [run for _, step in steps() if "gh release create" in (run := step.get("run", ""))]
    patterns = [word for word in command.split() if word.startswith("dist/")]
    assert {one for one in PUBLISHED if any(fnmatch(f"dist/{one}", pattern) for pattern in patterns)} == PUBLISHED


def test_the_released_pipeline_is_compiled_for_its_own_images(tmp_path: Path) -> None:
    """release.toml is an environment, and takes images from the file that the push wrote."""
    (tmp_path / "dist").mkdir()
    (tmp_path / ".github").mkdir()
    copied = tmp_path / ".github" / "release.toml"
    copied.write_text((GITHUB / "release.toml").read_text(encoding="utf-8"), encoding="utf-8")
    pushed = {kind: f"ghcr.io/a/b/inception-{kind}@sha256:{'0' * 64}" for kind in ("light", "cpu", "gpu")}
    (tmp_path / "dist" / "images.json").write_text(json.dumps(pushed), encoding="utf-8")
    assert load(str(copied)).images.model_dump(include=set(pushed)) == pushed


def test_dependabot_looks_where_something_is() -> None:
    """Every folder that it is sent to holds a file of that kind."""
    kinds = {"terraform": "*.tf", "docker": "Dockerfile*", "github-actions": ".github/workflows/*.yml"}
    for one in read(GITHUB / "dependabot.yml")["updates"]:
        for folder in one.get("directories", [one.get("directory")]):
            found = list((ROOT / folder.strip("/")).glob(kinds[one["package-ecosystem"]]))
            assert found, folder


@cache
def release_notes() -> ModuleType:
    spec = importlib.util.spec_from_file_location("release_notes", GITHUB / "release_notes.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CHANGELOG = """# Changelog

What a user notices, newest first.

## 0.3.0 (unreleased)

- What nobody has yet.

## 0.2.0 (2026-11-30)

- A thing that is new.
  It goes on.

## 0.1.0 (2026-10-01)

- The first.

## 0.0.9 (2026-09-01)

"""


def test_the_notes_of_a_release_are_its_part_of_the_changelog() -> None:
    """From its own heading to the next one, and nothing of other versions."""
    assert release_notes().notes("0.2.0", CHANGELOG, "0.2.0") == "- A thing that is new.\n  It goes on."
    assert release_notes().notes("0.1.0", CHANGELOG, "0.1.0") == "- The first."


@pytest.mark.parametrize(
    ("version", "packaged", "said"),
    [
        ("0.2.0", "0.1.0", "pyproject.toml says '0.1.0'"),
        ("0.3.0", "0.3.0", "dates 0.3.0 as 'unreleased'"),
        ("0.4.0", "0.4.0", "no part `## 0.4.0"),
        ("0.0.9", "0.0.9", "says nothing of 0.0.9"),
        ("", "0.1.0", "pyproject.toml says"),
    ],
)
def test_a_release_that_nobody_wrote_down_is_refused(version: str, packaged: str, said: str) -> None:
    """Tag, package and changelog must name the same version, with a day and a word about it."""
    with pytest.raises(ValueError, match=re.escape(said)):
        release_notes().notes(version, CHANGELOG, packaged)


def test_the_changelog_can_be_read_for_a_release() -> None:
    """The version that comes next has its part in CHANGELOG.md; all that may be missing is the day."""
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    packaged = re.findall(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.M)[0]
    dated = re.sub(r"(?m)^(## \S+) \(unreleased\)$", r"\1 (2026-01-01)", changelog)
    assert release_notes().notes(packaged, dated, packaged).startswith("- ")
