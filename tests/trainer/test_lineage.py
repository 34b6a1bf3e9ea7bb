"""What is known of the code and the image at work."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from trainer import lineage


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with one commit."""
    (tmp_path / "file.py").write_text("1")
    for words in (
        ["init", "-q"],
        ["add", "file.py"],
        ["-c", "user.name=n", "-c", "user.email=e@x", "commit", "-q", "-m", "m"],
    ):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True)
    return tmp_path


def test_a_checkout_tells_its_commit(checkout: Path) -> None:
    """A changed file marks it, one that git does not know leaves it as it is."""
    clean = lineage.commit(checkout)
    assert clean is not None
    assert len(clean) == 40
    (checkout / "new.py").write_text("2")
    assert lineage.commit(checkout) == clean
    (checkout / "file.py").write_text("3")
    assert lineage.commit(checkout) == f"{clean}-dirty"


def test_a_folder_within_somebody_elses_checkout_has_none(checkout: Path) -> None:
    """As an installed package has, in a virtual environment that lies in a project."""
    installed = checkout / ".venv" / "site-packages"
    installed.mkdir(parents=True)
    assert lineage.commit(installed) is None


def test_without_git_there_is_no_commit(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image has none."""
    monkeypatch.setenv("PATH", "")
    assert lineage.commit(checkout) is None


def test_an_image_says_what_was_baked_into_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its commit and its digest; an empty variable says nothing."""
    monkeypatch.setenv("INCEPTION_GIT_COMMIT", "abc")
    monkeypatch.setenv("INCEPTION_IMAGE", "inception-gpu@sha256:1")
    assert lineage.here() == {"git_commit": "abc", "image_digest": "inception-gpu@sha256:1"}
    monkeypatch.setenv("INCEPTION_IMAGE", "")
    assert lineage.here() == {"git_commit": "abc"}
