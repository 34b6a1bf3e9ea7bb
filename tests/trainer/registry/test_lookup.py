"""What lies behind a reference."""

from __future__ import annotations

import pytest

from trainer.errors import RegistryError, UsageError
from trainer.registry.lookup import LINEAGE, Found, lookup
from trainer.registry.memory import MemoryRegistry


@pytest.fixture
def registry() -> MemoryRegistry:
    registry = MemoryRegistry()
    for number in range(1, 4):
        tags = {"run_key": f"k{number}", "test_accuracy": f"0.{number}", "fingerprint": "f", "verdict": "promoted"}
        registry.create_version("digits", f"models:/m-{number}", "run", tags)
    registry.create_version("cats-vs-dogs", "models:/m-9", "run", {})
    registry.set_alias("digits", "champion", "2")
    registry.set_alias("digits", "challenger", "3")
    return registry


@pytest.mark.parametrize(
    ("reference", "version"),
    [
        ("digits", "2"),
        ("digits@champion", "2"),
        ("digits@challenger", "3"),
        ("digits/1", "1"),
        ("models:/digits@champion", "2"),
        ("models:/digits/3", "3"),
    ],
)
def test_a_reference_finds_its_version(registry: MemoryRegistry, reference: str, version: str) -> None:
    """A name alone means its champion."""
    found = lookup(registry, reference)
    assert (found.name, found.version) == ("digits", version)


def test_the_evidence_comes_with_it(registry: MemoryRegistry) -> None:
    """Accuracy, verdict, fingerprint and run are read from the tags, and all of it travels as JSON."""
    found = lookup(registry, "digits")
    assert (found.accuracy, found.verdict, found.fingerprint, found.run_key) == (0.2, "promoted", "f", "k2")
    assert (found.model_uri, found.load_uri, found.aliases) == ("models:/m-2", "models:/digits/2", ["champion"])
    assert Found.model_validate_json(found.model_dump_json()) == found


@pytest.mark.parametrize("tag", ["", "about 0.9", "0,9", "nan", "inf"])
def test_an_accuracy_that_a_hand_made_no_number_is_none(registry: MemoryRegistry, tag: str) -> None:
    """The version is found all the same."""
    registry.set_tags("digits", "2", {"test_accuracy": tag})
    assert lookup(registry, "digits").accuracy is None


def test_lineage_comes_in_one_order(registry: MemoryRegistry) -> None:
    """The run key and its parts, the code and the image, the run, the decision; other tags are no lineage."""
    lineage = {tag: f"the {tag}" for tag in LINEAGE}
    registry.set_tags("digits", "2", dict(reversed(lineage.items())) | {"other": "x"})
    assert list(lookup(registry, "digits").lineage.items()) == list(lineage.items())


def test_what_was_never_recorded_is_none(registry: MemoryRegistry) -> None:
    """A version that somebody else registered can be looked up too."""
    found = lookup(registry, "cats-vs-dogs/1")
    assert (found.accuracy, found.verdict, found.verdict_digest, found.run_key) == (None, None, None, None)


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("digit", "no registered model 'digit'. Did you mean 'digits'"),
        ("digits@chalenger", "no alias 'chalenger'. Did you mean 'challenger'"),
        ("digits/7", "no version '7'. Its versions: 1, 2, 3"),
        ("cats-vs-dogs", "'cats-vs-dogs' has no champion: no version has been promoted yet"),
    ],
)
def test_what_is_not_there_is_an_error_that_helps(registry: MemoryRegistry, reference: str, words: str) -> None:
    """It names the nearest, or says why there is nothing."""
    with pytest.raises(RegistryError, match=words):
        lookup(registry, reference)


@pytest.mark.parametrize("reference", ["", "@champion", "digits@", "digits/", "a b", "digits@champion/3", "digits/1/2"])
def test_what_is_no_reference_is_wrong_use(registry: MemoryRegistry, reference: str) -> None:
    """The forms that are understood are named."""
    with pytest.raises(UsageError, match="Received the model") as caught:
        lookup(registry, reference)
    assert "NAME@challenger" in caught.value.remedy


@pytest.mark.parametrize("version", ["latest", "3.0", "-1", "²"])
def test_what_is_no_version_is_wrong_use(registry: MemoryRegistry, version: str) -> None:
    """A version is a whole number."""
    with pytest.raises(UsageError, match=f"Received the version '{version}'") as caught:
        lookup(registry, f"digits/{version}")
    assert "a whole number" in caught.value.remedy.lower()


def test_a_model_that_lost_its_champion_says_so(registry: MemoryRegistry) -> None:
    """Who was champion, who of them is retired, and where to read on; the version tells why it retired."""
    registry.delete_alias("digits", "champion")
    registry.set_tags("digits", "2", {"retired": "images we may not use"})
    registry.set_tags("digits", "3", {"verdict": "kept"})
    with pytest.raises(
        RegistryError, match=r"'digits' has no champion now\. Versions that were: 1, 2 \(retired\)"
    ) as caught:
        lookup(registry, "digits")
    assert "inception models history digits" in caught.value.remedy
    assert "inception models audit digits" in caught.value.remedy
    assert lookup(registry, "digits/2").retired == "images we may not use"
    assert lookup(registry, "digits/1").retired is None
