"""Whether there is work: what makes a run key, what skips, and the words that say why not."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from trainer import check as verb
from trainer import config, record
from trainer.check import check, is_made
from trainer.config import Recipe
from trainer.errors import DataError, RegistryError
from trainer.prepare import prepare
from trainer.record import Checked
from trainer.registry.ledger import MemoryLedger
from trainer.registry.memory import MemoryRegistry
from trainer.state import State

RECIPE = """
[data]
source = "digits"
[model]
variant = "googlenet"
[train]
epochs = 2
batch_size = 8
optimizer = { name = "sgd" }
[gate]
threshold = 0.9
[registry]
name = "m"
"""


class Installation:
    """One state folder with its registry; `again` is the next tick of the schedule."""

    def __init__(self, state: State) -> None:
        self.state, self.registry, self.ledger = state, MemoryRegistry(), MemoryLedger()
        self.ticks = 0

    def again(self, *overrides: str, force: bool = False, recipe: Recipe | None = None) -> Checked:
        self.ticks += 1
        asked = recipe or config.parse(RECIPE, overrides)
        return check(asked, self.state, self.registry, self.ledger, f"tick-{self.ticks}", force)

    def register(self, checked: Checked, **tags: str) -> None:
        """What `register` and `promote` leave of a run that was decided."""
        parts = {"fingerprint": checked.fingerprint, "config_digest": checked.config_digest}
        lineage = {"run_key": checked.run_key, "code_digest": checked.code_digest, **parts}
        self.registry.create_version("m", "models:/m-1", "r", lineage | tags)


@pytest.fixture
def here(state: State) -> Installation:
    return Installation(state)


def test_without_a_version_there_is_work(here: Installation, capsys: pytest.CaptureFixture[str]) -> None:
    """The document lies in the tick's folder and in the run's, and says where the data comes from."""
    checked = here.again()
    assert checked.decision == "work"
    assert checked.reason == "Work to do: there is no version of this model yet."
    assert capsys.readouterr().out == checked.reason + "\n"
    assert record.read(here.state.tick("tick-1"), Checked) == checked
    assert record.read(here.state.run(checked.run_key), Checked) == checked
    assert config.parse(checked.recipe) == config.parse(RECIPE)
    assert checked.source["address"] == "digits"


def test_work_that_was_decided_is_skipped(here: Installation) -> None:
    """With the version, the verdict and the accuracy it had; the run record of the work stays as it was."""
    first = here.again()
    here.register(first, verdict="promoted", test_accuracy="0.98765")
    second = here.again()
    assert second.decision == "skip"
    assert second.reason == (
        "Nothing changed: the same images, recipe and code made version 1 (promoted, accuracy 0.9877). "
        "Use --force to train again."
    )
    assert second.run_key == first.run_key
    assert record.read(here.state.run(first.run_key), Checked) == first
    assert record.read(here.state.tick("tick-2"), Checked) == second


def test_a_figure_that_a_hand_made_none_is_left_out(here: Installation) -> None:
    """The work is skipped all the same."""
    here.register(here.again(), verdict="kept", test_accuracy="good")
    assert "made version 1 (kept). Use" in here.again().reason


def test_work_is_made_while_both_its_data_and_its_training_are_there(here: Installation) -> None:
    """Where one of them was pruned, the steps that a cache remembers have to run again."""
    checked = here.again()
    assert not is_made(here.state, checked)
    record.write(
        here.state.data(checked.fingerprint),
        record.Prepared(
            fingerprint=checked.fingerprint, path="", classes=[], counts={}, identity_digests={}, rejected=[],
            rejected_total=0, seconds=1.0,
        ),
    )  # fmt: skip
    assert not is_made(here.state, checked)
    record.write(
        here.state.run(checked.run_key),
        record.Trained(
            model_uri="models:/m-1", mlflow_run_id="r", experiment_id="1", variant="googlenet", image_size=32,
            parameters=1, training_parameters=1, epochs=[], precision="float32", device="CPU", seconds=1.0,
            resumed_from_epoch=None, versions={},
        ),
    )  # fmt: skip
    assert is_made(here.state, checked)
    shutil.rmtree(here.state.data(checked.fingerprint))
    assert not is_made(here.state, checked)


def test_a_version_that_was_kept_out_is_decided_too(here: Installation) -> None:
    """The same training would end the same way."""
    here.register(here.again(), verdict="kept")
    checked = here.again()
    assert checked.decision == "skip"
    assert "made version 1 (kept)." in checked.reason


def test_a_version_without_a_verdict_is_unfinished_work(here: Installation) -> None:
    """The run was killed between registering and deciding: it goes on, under the same key."""
    first = here.again()
    here.register(first)
    second = here.again()
    assert second.decision == "work"
    assert second.reason == "Work to do: version 1 was made but not decided yet."
    assert second.run_key == first.run_key


@pytest.mark.parametrize("override", ["train.epochs=3", "gate.threshold=0.8", "model.width=0.5", "data.limit=50"])
def test_another_recipe_is_work(override: str, here: Installation) -> None:
    """Named as what changed; back to the old recipe, the old version counts again."""
    here.register(here.again(), verdict="promoted")
    changed = here.again(override)
    assert changed.decision == "work"
    assert changed.reason.startswith("Work to do: since version 1 the ")
    assert changed.reason.endswith("recipe changed.")
    assert here.again().decision == "skip"


def test_resources_are_no_reason_to_work(here: Installation) -> None:
    """How many threads decode changes no figure."""
    here.register(here.again(), verdict="promoted")
    assert here.again("resources.workers=7").decision == "skip"


def test_other_code_is_work(here: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new release trains again, and says that it is why."""
    here.register(here.again(), verdict="promoted")
    monkeypatch.setattr(verb, "code_digest", lambda: "another")
    checked = here.again()
    assert (checked.decision, checked.code_digest) == ("work", "another")
    assert checked.reason == "Work to do: since version 1 the code changed."


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("cats", "dogs"):
        for number in range(12):
            picture(tmp_path / "images" / name / f"{number}.png", hash((name, number)) % 2**32)
    return tmp_path / "images"


def picture(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (9, 9, 3), np.uint8)).save(path)


def test_other_images_are_work(here: Installation, folder: Path) -> None:
    """One more, one less, one changed: each makes another fingerprint; touching a file makes none."""
    recipe = config.parse(RECIPE, [f"data.source=folder:{folder}"])
    first = here.again(recipe=recipe)
    here.register(first, verdict="promoted")
    fingerprints = {first.fingerprint}
    (folder / "cats" / "1.png").touch()
    assert here.again(recipe=recipe).decision == "skip"
    for change in (
        lambda: picture(folder / "cats" / "new.png", 99),
        lambda: picture(folder / "cats" / "new.png", 100),
        (folder / "dogs" / "3.png").unlink,
    ):
        change()
        checked = here.again(recipe=recipe)
        assert checked.decision == "work"
        assert checked.reason == "Work to do: since version 1 the data changed."
        fingerprints.add(checked.fingerprint)
    assert len(fingerprints) == 4


def test_everything_that_changed_is_named(here: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compared with the newest version, by number and not by spelling."""
    first = here.again()
    for number in range(10):
        here.register(first, verdict="kept", run_key=f"older {number}")
    here.register(first, verdict="kept")
    monkeypatch.setattr(verb, "code_digest", lambda: "another")
    reason = here.again("data.limit=50").reason
    assert reason == "Work to do: since version 11 the data and the recipe and the code changed."


def test_what_check_finds_is_what_prepare_takes(here: Installation) -> None:
    """The fingerprint names the prepared data; another limit or fraction is other data."""
    fingerprints = set()
    for overrides in ([], ["data.test_fraction=0.3"], ["data.limit=60"]):
        checked = here.again(*overrides)
        assert (
            prepare(config.parse(checked.recipe).data, checked.fingerprint, here.state).fingerprint
            == checked.fingerprint
        )
        fingerprints.add(checked.fingerprint)
    assert len(fingerprints) == 3
    assert here.again("train.epochs=9").fingerprint in fingerprints


def test_force_is_work_of_its_own(here: Installation) -> None:
    """Under a key that no other run has, the same for the same tick; without force, nothing changed still."""
    first = here.again()
    here.register(first, verdict="promoted")
    forced, again = here.again(force=True), here.again(force=True)
    assert forced.decision == again.decision == "work"
    assert forced.reason == "Work to do: asked to train again although nothing may have changed."
    assert len({first.run_key, forced.run_key, again.run_key}) == 3
    here.ticks -= 1
    assert here.again(force=True).run_key == again.run_key
    assert here.again().decision == "skip"


def test_the_failure_of_an_earlier_try_is_forgotten(here: Installation) -> None:
    """Of the training and of the preparation: a run that ends well this time must not be reported as failed."""
    checked = here.again()
    failure = record.Failure(step="train", message="m", remedy="r", traceback="t", at=record.now())
    places = [here.state.run(checked.run_key), here.state.failed_data(checked.fingerprint)]
    for place in places:
        record.write(place, failure)
    here.again()
    assert [record.find(place, record.Failure) for place in places] == [None, None]


def test_the_champion_alias_is_brought_in_line_first(here: Installation) -> None:
    """A run that died between ledger and alias is healed by the next one's first step, even if it skips."""
    first = here.again()
    here.register(first, verdict="promoted")
    here.registry.set_alias("m", "champion", "1")
    assert here.again().decision == "skip"
    assert [entry.event for entry in here.ledger.read().entries] == ["adopt"]


def test_a_source_that_is_not_there_is_an_error(here: Installation, tmp_path: Path) -> None:
    """And nothing is recorded as if it had been checked."""
    with pytest.raises(DataError, match="There is no folder"):
        here.again(recipe=config.parse(RECIPE, [f"data.source=folder:{tmp_path}/absent"]))
    assert record.find(here.state.tick("tick-1"), Checked) is None


def test_the_code_digest_is_of_what_decides_the_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change of a network, the feed or the loop counts; one of the run card, the registry or the words does not."""
    package = Path(verb.__file__).parent
    copy = tmp_path / "trainer"
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(verb, "__file__", str(copy / "check.py"))
    unchanged = verb.code_digest()
    for name, counts in {
        "models/blocks.py": True,
        "data/feed.py": True,
        "data/sources/folder.py": True,
        "training/learner.py": True,
        "prepare.py": True,
        "train.py": True,
        "card/html.py": False,
        "registry/mlflow.py": False,
        "report.py": False,
        "events.py": False,
        "gate/decision.py": False,
    }.items():
        text = (copy / name).read_text()
        (copy / name).write_text(text + "\n# changed\n")
        assert (verb.code_digest() != unchanged) is counts, name
        (copy / name).write_text(text)
    assert verb.code_digest() == unchanged
    assert all((package / part).exists() for part in verb.COMPUTING_CODE)


def test_a_tick_that_is_skipped_tells_of_an_alias_that_a_hand_moved(here: Installation) -> None:
    """With what to do, behind the reason: no later step of the run says it."""
    first = here.again()
    here.register(first, verdict="promoted")
    here.register(first.model_copy(update={"run_key": "other"}), verdict="kept")
    here.registry.set_alias("m", "champion", "1")
    assert "by hand" not in here.again().reason
    here.registry.set_alias("m", "champion", "2")
    reason = here.again().reason
    assert "Use --force to train again. The alias 'champion' of 'm' was moved to version 2 by hand" in reason
    assert reason.endswith("inception models audit m")


def test_checking_on_an_empty_ledger_that_is_not_the_models_is_refused(here: Installation) -> None:
    """The state folder is another than the one whose ledger the registry's tags tell of: no budget begins anew."""
    here.register(here.again(), verdict="kept", ledger_entry="3")
    with pytest.raises(RegistryError, match="there is none at memory"):
        here.again("train.epochs=3")


def test_checking_imports_nothing_heavy(state: State, folder: Path, run_python: Callable[..., Any]) -> None:
    """For digits and for a folder: no TensorFlow, no scikit-learn, and no image is decoded."""
    code = (
        "import sys\n"
        "from trainer import config\n"
        "from trainer.check import check\n"
        "from trainer.registry.ledger import MemoryLedger\n"
        "from trainer.registry.memory import MemoryRegistry\n"
        "from trainer.state import State\n"
        "state = State.open(sys.argv[1])\n"
        "for source in sys.argv[3:]:\n"
        "    recipe = config.parse(sys.argv[2], [f'data.source={source}'])\n"
        "    check(recipe, state, MemoryRegistry(), MemoryLedger(), 't')\n"
        "print(sorted({'tensorflow', 'keras', 'sklearn', 'PIL', 'matplotlib'} & set(sys.modules)))\n"
    )
    done = run_python(code, str(state.root), RECIPE, "digits", f"folder:{folder}")
    assert done.stdout.splitlines()[-1] == "[]", done.stderr
