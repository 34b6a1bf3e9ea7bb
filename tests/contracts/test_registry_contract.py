"""What every registry does: MLflow on SQLite, a real MLflow server on PostgreSQL, and the twin in memory."""

from __future__ import annotations

import itertools
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from trainer.errors import RegistryError
from trainer.registry.memory import MemoryRegistry
from trainer.registry.mlflow import MlflowRegistry
from trainer.registry.protocol import ModelVersion, Registry

_numbers = itertools.count()


@pytest.fixture(scope="module")
def mlflow_store(tmp_path_factory: pytest.TempPathFactory, mlflow_template: Path) -> str:
    """The tests share it and use names of their own, as they do with the server's."""
    database = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    shutil.copyfile(mlflow_template, database)
    return f"sqlite:///{database}"


@pytest.fixture(params=["memory", "sqlite", "server"])
def registry(request: pytest.FixtureRequest) -> Registry:
    if request.param == "memory":
        return MemoryRegistry()
    return MlflowRegistry(request.getfixturevalue("mlflow_store" if request.param == "sqlite" else "mlflow_server"))


@pytest.fixture
def name() -> str:
    return f"model-{next(_numbers)}"


def create(registry: Registry, name: str, run_key: str = "k") -> ModelVersion:
    return registry.create_version(name, f"gs://models/{run_key}", "a" * 32, {"run_key": run_key})


def test_a_version_holds_what_it_was_made_with(registry: Registry, name: str) -> None:
    """Address, run, tags and time come back as they went in; versions count from 1."""
    made = registry.create_version(name, "gs://bucket/m", "b" * 32, {"run_key": "k", "recipe": '{"ü": "x"}' * 500})
    assert (made.name, made.version, made.model_uri, made.run_id) == (name, "1", "gs://bucket/m", "b" * 32)
    assert made.aliases == []
    assert abs(made.created_at - datetime.now(UTC)) < timedelta(minutes=1)
    assert registry.get(name, "1").tags == {"run_key": "k", "recipe": '{"ü": "x"}' * 500}
    assert registry.get(name, "1").created_at == made.created_at


def test_versions_are_listed_oldest_first(registry: Registry, name: str) -> None:
    """The tenth comes after the ninth, not after the first."""
    for number in range(11):
        create(registry, name, f"k{number}")
    assert [one.version for one in registry.versions(name)] == [str(number) for number in range(1, 12)]
    assert name in registry.names()
    assert registry.names() == sorted(registry.names())


def test_a_run_key_finds_its_oldest_version(registry: Registry, name: str) -> None:
    """Everybody who asks gets the same one; a key that made nothing, and a model that is not there, give None."""
    assert registry.find_by_run_key(name, "k") is None
    for key in ("other", "k", "k"):
        create(registry, name, key)
    found = registry.find_by_run_key(name, "k")
    assert found is not None
    assert found == registry.get(name, "2")
    assert registry.find_by_run_key(name, "K") is None
    assert registry.find_by_run_key(name, "nothing") is None


def test_an_alias_stands_on_one_version_at_a_time(registry: Registry, name: str) -> None:
    """Setting it moves it, and a version knows its aliases however it is found."""
    create(registry, name, "k1")
    create(registry, name, "k2")
    assert registry.alias(name, "champion") is None
    registry.set_alias(name, "champion", "1")
    registry.set_alias(name, "challenger", "2")
    registry.set_alias(name, "champion", "2")
    assert registry.alias(name, "champion") == "2"
    assert registry.get(name, "1").aliases == []
    assert registry.get(name, "2").aliases == ["challenger", "champion"]
    assert [one.aliases for one in registry.versions(name)] == [[], ["challenger", "champion"]]
    found = registry.find_by_run_key(name, "k2")
    assert found is not None
    assert found.aliases == ["challenger", "champion"]


def test_an_alias_can_be_deleted_twice(registry: Registry, name: str) -> None:
    """Deleting what is not there is no error."""
    create(registry, name)
    registry.set_alias(name, "champion", "1")
    registry.delete_alias(name, "champion")
    registry.delete_alias(name, "champion")
    assert registry.alias(name, "champion") is None


def test_tags_are_added_and_changed(registry: Registry, name: str) -> None:
    """Other tags stay, and so do other versions."""
    create(registry, name)
    create(registry, name)
    registry.set_tags(name, "1", {"verdict": "kept", "run_key": "z"})
    registry.set_tags(name, "1", {"verdict": "promoted"})
    registry.set_tags(name, "1", {})
    assert registry.get(name, "1").tags == {"run_key": "z", "verdict": "promoted"}
    assert registry.get(name, "2").tags == {"run_key": "k"}


def test_a_deleted_version_is_gone_with_its_aliases(registry: Registry, name: str) -> None:
    """The other versions stay as they are."""
    create(registry, name, "k1")
    create(registry, name, "k2")
    registry.set_alias(name, "challenger", "2")
    registry.delete_version(name, "2")
    assert [one.version for one in registry.versions(name)] == ["1"]
    assert registry.alias(name, "challenger") is None
    assert registry.find_by_run_key(name, "k2") is None
    with pytest.raises(RegistryError, match="no version '2'"):
        registry.get(name, "2")


def test_what_was_given_out_does_not_change_the_registry(registry: Registry, name: str) -> None:
    """A version is a copy."""
    made = create(registry, name)
    made.tags["run_key"] = "changed"
    registry.get(name, "1").tags["run_key"] = "changed"
    assert registry.get(name, "1").tags == {"run_key": "k"}


@pytest.mark.parametrize("deed", ["versions", "get", "set_tags", "set_alias", "delete_alias", "delete_version"])
def test_an_unknown_model_is_an_error_that_names_the_nearest(registry: Registry, name: str, deed: str) -> None:
    """`There is no registered model 'x'. Did you mean …?`"""
    near = f"unheard-of-{name}"
    create(registry, near)
    arguments = {
        "versions": (),
        "get": ("1",),
        "set_tags": ("1", {"a": "b"}),
        "set_alias": ("champion", "1"),
        "delete_alias": ("champion",),
        "delete_version": ("1",),
    }[deed]
    with pytest.raises(RegistryError, match=f"no registered model '{near}x'. Did you mean '{near}'"):
        getattr(registry, deed)(f"{near}x", *arguments)
    assert registry.alias(f"{near}x", "champion") is None


@pytest.mark.parametrize("version", ["3", "0", "latest", "-1", ""])
def test_an_unknown_version_is_an_error_that_names_the_known(registry: Registry, name: str, version: str) -> None:
    """Numbers that were never given out and words that are no numbers alike, whatever is asked of them."""
    create(registry, name)
    create(registry, name)
    for deed in (
        lambda: registry.get(name, version),
        lambda: registry.set_alias(name, "champion", version),
        lambda: registry.set_tags(name, version, {"a": "b"}),
        lambda: registry.delete_version(name, version),
    ):
        with pytest.raises(RegistryError, match=f"no version '{version}'. Its versions: 1, 2"):
            deed()
    assert registry.alias(name, "champion") is None
