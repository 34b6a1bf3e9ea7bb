"""A promotion that is killed, wherever, heals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainer.config import Gate

PAIRED = Gate(threshold=0.5)


class Crash(BaseException):
    """The process ends here."""


class Crashing:
    """Counts calls through its proxies, and crashes at one of them, before or after it has worked."""

    def __init__(self, at: int | None, *, before: bool) -> None:
        self.at, self.before, self.calls = at, before, 0

    def proxy(self, target: Any) -> Any:
        outer = self

        class Proxy:
            def __getattr__(self, name: str) -> Callable[..., Any]:
                real = getattr(target, name)

                def call(*args: Any, **kwargs: Any) -> Any:
                    outer.calls += 1
                    fatal = outer.calls == outer.at
                    if fatal and outer.before:
                        raise Crash
                    result = real(*args, **kwargs)
                    if fatal:
                        raise Crash
                    return result

                return call

        return Proxy()


SCENARIOS: dict[str, Callable[[Any], str]] = {}


def scenario(build: Callable[[Any], str]) -> Callable[[Any], str]:
    SCENARIOS[build.__name__] = build
    return build


@scenario
def first_model(world: Any) -> str:
    world.run("a", 80)
    return "a"


@scenario
def better_challenger(world: Any) -> str:
    world.run("a", 80)
    world.promote("a")
    world.run("b", 90, against="1")
    return "b"


@scenario
def worse_challenger(world: Any) -> str:
    world.run("a", 80)
    world.promote("a")
    world.run("b", 70, against="1")
    return "b"


@scenario
def challenger_that_may_be_better(world: Any) -> str:
    """Undecided, and spent all the same."""
    world.run("a", 80)
    world.promote("a")
    world.run("b", 85, against="1")
    return "b"


@scenario
def overtaken_challenger(world: Any) -> str:
    """Evaluated against version 1, but version 2 is champion by now, and the challenger beats that too."""
    world.run("a", 70)
    world.promote("a")
    world.run("b", 80, against="1")
    world.run("c", 90, against="1")
    world.promote("b")
    return "c"


@scenario
def champion_to_adopt(world: Any) -> str:
    """The registry had a champion before there was a ledger."""
    world.run("a", 70)
    world.registry.set_alias("digits", "champion", "1")
    world.run("b", 80, against="1")
    return "b"


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("name", list(SCENARIOS))
def test_a_crash_at_any_point_heals(new_world: Callable[..., Any], tmp_path: Path, name: str, before: bool) -> None:
    """Killed before or after any call to registry or ledger, the same promotion again ends as if nothing had been."""
    undisturbed = new_world(tmp_path / "undisturbed")
    key = SCENARIOS[name](undisturbed)
    counter = Crashing(None, before=before)
    whole = new_world(undisturbed.runs, counter.proxy(undisturbed.registry), counter.proxy(undisturbed.ledger))
    expected = whole.promote(key, PAIRED)
    assert counter.calls >= 6

    for at in range(1, counter.calls + 1):
        world = new_world(tmp_path / str(at))
        SCENARIOS[name](world)
        crashing = Crashing(at, before=before)
        killed = new_world(world.runs, crashing.proxy(world.registry), crashing.proxy(world.ledger))
        with pytest.raises(Crash):
            killed.promote(key, PAIRED)
        again = world.promote(key, PAIRED)
        assert world.seen() == undisturbed.seen(), f"crash at call {at}"
        assert again.model_dump(exclude={"at"}) == expected.model_dump(exclude={"at"}), f"crash at call {at}"
        world.promote(key, PAIRED)
        assert world.seen() == undisturbed.seen(), f"third time, after a crash at call {at}"
