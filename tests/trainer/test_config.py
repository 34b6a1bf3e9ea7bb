"""Recipes: what they default to, what makes them equal, and what they say to bad ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from trainer import config
from trainer.errors import RecipeError

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = sorted(path.name for path in (ROOT / "configs").glob("*.toml") if path.name != "schedules.toml")

LEAST = """
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


def refused(text: str, *overrides: str) -> RecipeError:
    with pytest.raises(RecipeError) as caught:
        config.parse(text, overrides)
    return caught.value


# ------------------------------------------------------------------ good recipes


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_recipe_is_valid(name: str) -> None:
    """Its first line says how to run it, and its name in the registry is its own."""
    path = ROOT / "configs" / name
    recipe = config.load(path)
    assert path.read_text().startswith(f"# inception run configs/{name}")
    assert recipe.registry.name == path.stem.replace("_", "-")


@pytest.mark.parametrize("name", SHIPPED)
def test_a_recipe_survives_the_journey_as_json(name: str) -> None:
    """Canonical JSON is one line, parses to an equal recipe, and has the same digest there."""
    recipe = config.load(ROOT / "configs" / name)
    again = config.parse(recipe.canonical())
    assert "\n" not in recipe.canonical()
    assert again == recipe
    assert again.canonical() == recipe.canonical()
    assert again.digest() == recipe.digest()


def test_what_is_left_out_has_these_defaults() -> None:
    """The defaults, all of them; a changed one changes what every recipe means."""
    assert config.parse(LEAST).model_dump() == {
        "data": {
            "source": "digits",
            "data_dir": None,
            "validation_fraction": 0.1,
            "test_fraction": 0.2,
            "max_rejected_share": 0.02,
            "limit": None,
        },
        "model": {
            "variant": "googlenet",
            "init": None,
            "image_size": None,
            "stem": "paper",
            "width": 1.0,
            "auxiliary": None,
            "dropout": None,
            "residual_scale": None,
            "bn_momentum": None,
            "bn_gamma": None,
            "lrn": None,
            "module": None,
            "test_time": {"flip": False, "crops": "whole"},
        },
        "train": {
            "epochs": 2,
            "batch_size": 8,
            "micro_batch_size": None,
            "seed": 0,
            "optimizer": {
                "name": "sgd",
                "learning_rate": 0.01,
                "momentum": 0.0,
                "nesterov": False,
                "weight_decay": 0.0,
            },
            "schedule": {"name": "constant", "warmup_epochs": 0.0},
            "augment": {
                "flip": False,
                "rotation": 0.0,
                "shift": 0.0,
                "shear": 0.0,
                "zoom": 0.0,
                "fill": "nearest",
                "crop": None,
                "color": {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0},
                "rand_augment": None,
                "erase": None,
                "mixup": 0.0,
                "cutmix": 0.0,
            },
            "label_smoothing": 0.0,
            "auxiliary_weight": 0.3,
            "l2": 0.0,
            "clip_norm": None,
            "precision": "auto",
            "compilation": "auto",
            "ema": None,
            "class_weights": "none",
            "sampling": "shuffle",
            "early_stopping": None,
            "divergence": {"loss_factor": 10.0, "restarts": 0, "rate_factor": 0.5},
            "members": 1,
            "scratch_every": None,
        },
        "evaluate": {
            "batch_size": 64,
            "mistakes": 24,
            "slices": ("size", "brightness"),
            "resamples": 1000,
            "latency": True,
            "renamed": {},
        },
        "gate": {
            "policy": "paired",
            "threshold": 0.9,
            "min_improvement": 0.0,
            "min_effect": None,
            "alpha": 0.05,
            "budget": 0.2,
            "horizon": 52,
            "confidence": 0.95,
            "resamples": 10_000,
            "max_class_drop": None,
            "max_calibration_error": None,
            "max_latency_ratio": None,
            "max_size_ratio": None,
            "allow_class_changes": False,
        },
        "registry": {"name": "m"},
        "transfer": None,
        "resources": {
            "workers": None,
            "steps_per_execution": None,
            "checkpoints": None,
            "checkpoint_minutes": 5.0,
            "system_metrics": True,
            "tensorboard": False,
        },
    }


def test_equal_recipes_have_equal_digests() -> None:
    """Order, spacing, number spelling and defaults written out make no difference."""
    shuffled = """
    [registry]
    name = "m"
    [gate]
    threshold = 9e-1
    [train.optimizer]
    learning_rate = 0.010
    name = "sgd"
    [train]
    seed = 0
    batch_size = 8
    epochs = 2
    [model]
    variant = "googlenet"
    [data]
    source = "digits"
    """
    assert config.parse(shuffled).digest() == config.parse(LEAST).digest()


@pytest.mark.parametrize(
    ("override", "same"),
    [
        ("resources.workers=3", True),
        ("resources.checkpoint_minutes=1.0", True),
        ("train.epochs=3", False),
        ("train.seed=1", False),
        ("gate.threshold=0.8", False),
        ("registry.name=n", False),
        ("model.width=0.5", False),
        ("data.limit=5", False),
    ],
)
def test_the_digest_is_of_what_is_asked_for(override: str, same: bool) -> None:
    """What a run may use is no part of its identity; everything else is."""
    changed, least = config.parse(LEAST, [override]), config.parse(LEAST)
    assert changed.canonical() != least.canonical()
    assert (changed.digest() == least.digest()) is same


def test_a_recipe_cannot_be_changed() -> None:
    """Not the recipe, not a section, not a part of a section."""
    recipe = config.parse(LEAST)
    for owner, key in ((recipe, "gate"), (recipe.train, "epochs"), (recipe.train.optimizer, "learning_rate")):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(owner, key, 1)


@pytest.mark.parametrize("source", ["digits", "tfds:cifar10", "tfds:mnist/a:3.0.1", "folder:/a=b c", "folder:gs://x/y"])
def test_a_source_of_a_known_kind_is_taken(source: str) -> None:
    """Whether it is there is for the source to say."""
    assert config.parse(LEAST, [f"data.source={source}"]).data.source == source


# ------------------------------------------------------------------ overrides


@pytest.mark.parametrize(
    ("override", "section", "key", "value"),
    [
        ("train.epochs=3", "train", "epochs", 3),
        (" train.epochs = 3 ", "train", "epochs", 3),
        ("data.test_fraction=0.25", "data", "test_fraction", 0.25),
        ("train.l2=1e-4", "train", "l2", 1e-4),
        ("model.auxiliary=false", "model", "auxiliary", False),
        ("model.auxiliary=true", "model", "auxiliary", True),
        ("model.variant=inception_v3", "model", "variant", "inception_v3"),
        ('model.variant="inception_v3"', "model", "variant", "inception_v3"),
        ("model.variant='inception_v3'", "model", "variant", "inception_v3"),
        ("data.source=folder:/a=b # c", "data", "source", "folder:/a=b # c"),
        ("data.source=folder:/ä ö", "data", "source", "folder:/ä ö"),
        ("train.optimizer.momentum=0.9", "train", "optimizer", config.Sgd(name="sgd", momentum=0.9)),
        ("train.augment.flip=true", "train", "augment", config.Augment(flip=True)),
        ('train.schedule={name="step", factor=0.9, every_epochs=8}', "train", "schedule",
         config.Step(name="step", factor=0.9, every_epochs=8)),
        ('train.optimizer={name="adamw", weight_decay=0.1}', "train", "optimizer",
         config.AdamW(name="adamw", weight_decay=0.1)),
        ("evaluate.mistakes=0", "evaluate", "mistakes", 0),
    ],
)  # fmt: skip
def test_an_override_changes_one_value(override: str, section: str, key: str, value: Any) -> None:
    """Numbers, booleans, text with and without quotes, whole tables; in sections the recipe lacks, too."""
    changed = config.parse(LEAST, [override])
    assert getattr(getattr(changed, section), key) == value
    least = config.parse(LEAST)
    restored = getattr(changed, section).model_copy(update={key: getattr(getattr(least, section), key)})
    assert changed.model_copy(update={section: restored}) == least


def test_of_two_overrides_of_one_key_the_last_counts() -> None:
    """As on every command line."""
    assert config.parse(LEAST, ["train.epochs=3", "train.epochs=4"]).train.epochs == 4


def test_overrides_apply_to_canonical_json_too() -> None:
    """A form overrides the recipe that travels as a parameter."""
    assert config.parse(config.parse(LEAST).canonical(), ["train.epochs=7"]).train.epochs == 7


@pytest.mark.parametrize("override", ["train.epochs", "epochs=3", ".epochs=3", "train.=3", "=3", "", "train..epochs=3"])
def test_an_override_of_another_form_is_refused(override: str) -> None:
    """The message shows it, and how to write one."""
    error = refused(LEAST, override)
    assert error.message == f"Received the override {override!r}."
    assert "section.key=value" in error.remedy


def test_an_override_below_a_value_is_refused() -> None:
    """It names what is no section."""
    assert "'epochs' is a value, not a section" in refused(LEAST, "train.epochs.more=3").message


def test_a_forms_blank_fields_override_nothing() -> None:
    """Zero and false do; text arrives as text, whatever it looks like."""
    form = {"train.epochs": 3, "model.variant": "", "gate.threshold": 0.0, "train.l2": None, "model.lrn": False}
    assert config.overrides_from(form) == ["train.epochs=3", "gate.threshold=0.0", "model.lrn=false"]
    name = config.parse(LEAST, config.overrides_from({"registry.name": "2026"})).registry.name
    assert name == "2026"


# ------------------------------------------------------------------ bad recipes

BAD = [
    # an unknown key, at every depth
    ("trian.epochs=3", "trian: unknown key. Did you mean 'train'?"),
    ("data.sorce=digits", "data.sorce: unknown key. Did you mean 'source'?"),
    ("train.epoch=3", "train.epoch: unknown key. Did you mean 'epochs'?"),
    ("resources.worker=3", "resources.worker: unknown key. Did you mean 'workers'?"),
    ("gate.zzz=3", "gate.zzz: unknown key. Known: allow_class_changes, alpha, budget, confidence, horizon, max_c"),
    ("train.augment.flipp=true", "train.augment.flipp: unknown key. Did you mean 'flip'?"),
    ("train.optimizer.momentumm=0.9", "train.optimizer.momentumm: unknown key. Did you mean 'momentum'?"),
    ("train.optimizer.rho=0.9", "train.optimizer.rho: unknown key."),
    ("train.ema.decy=0.9", "train.ema.decy: unknown key. Did you mean 'decay'?"),
    ("train.augment.crop.aria=[0.1, 1.0]", "train.augment.crop.aria: unknown key. Did you mean 'area'?"),
    ('train.class_weights="heavy"', "1 problem:\n  train.class_weights: received 'heavy'. Input should be 'none' or"),
    ("train.class_weights={cat=-1.0}", "1 problem:\n  train.class_weights.cat: received -1.0. Input should be greater"),
    ("train.scratch_every=3", "1 problem:\n  train.scratch_every 3 says"),
    ('train.schedule={name="cosine", warmup=1}', "train.schedule.warmup: unknown key. Did you mean 'warmup_epochs'?"),
    ('train.schedule={name="one_cycle", rize=0.1}', "train.schedule.rize: unknown key. Did you mean 'rise'?"),
    # a value of the wrong type
    ("train.epochs=three", "train.epochs: received 'three'. Input should be a valid integer"),
    ("train.epochs=2.5", "train.epochs: received 2.5. Input should be a valid integer"),
    ("train.epochs=true", "train.epochs: received True. Input should be a valid integer"),
    ("model.auxiliary=maybe", "model.auxiliary: received 'maybe'. Input should be a valid boolean"),
    ("registry.name=5", "registry.name: received 5. Input should be a valid string"),
    ("train.augment.flip=1", "train.augment.flip: received 1. Input should be a valid boolean"),
    ("train.optimizer.learning_rate=fast", "train.optimizer.learning_rate: received 'fast'. Input should be a valid"),
    # a value out of range
    ("train.epochs=0", "train.epochs: received 0. Input should be greater than 0"),
    ("train.batch_size=-1", "train.batch_size: received -1."),
    ("train.seed=-1", "train.seed: received -1."),
    ("train.seed=4294967296", "train.seed: received 4294967296. Input should be less than 2147483648"),
    ("train.optimizer.learning_rate=0", "train.optimizer.learning_rate: received 0. Input should be greater than 0"),
    ("train.optimizer.learning_rate=nan", "train.optimizer.learning_rate: received nan. Input should be a finite"),
    ("train.optimizer.learning_rate=inf", "train.optimizer.learning_rate: received inf. Input should be a finite"),
    ("train.optimizer.momentum=1.0", "train.optimizer.momentum: received 1.0. Input should be less than 1"),
    ("train.augment.rotation=181", "train.augment.rotation: received 181. Input should be less than or equal to 180"),
    ("train.label_smoothing=1.0", "train.label_smoothing: received 1.0."),
    ("data.limit=0", "data.limit: received 0."),
    ("data.test_fraction=-0.1", "data.test_fraction: received -0.1."),
    ("gate.threshold=95", "gate.threshold: received 95. Input should be less than or equal to 1"),
    ("evaluate.mistakes=101", "evaluate.mistakes: received 101."),
    ("registry.name=my model", "registry.name: received 'my model'."),
    ("registry.name=-x", "registry.name: received '-x'."),
    # a word that is none of the known
    ("model.variant=googlenett", "model: variant 'googlenett' is unknown. Did you mean 'googlenet'?"),
    ("model.stem=smal", "model.stem: received 'smal'. Did you mean 'small'?"),
    ("gate.policy=pared", "gate.policy: received 'pared'. Did you mean 'paired'?"),
    ("train.precision=bfloat16", "train.precision: received 'bfloat16'. Did you mean 'mixed_bfloat16'?"),
    ("train.augment.fill=nearst", "train.augment.fill: received 'nearst'. Did you mean 'nearest'?"),
    ("train.optimizer.name=adam", "train.optimizer.name: received 'adam'. Did you mean 'adamw'?"),
    ("train.optimizer.name=lion", "train.optimizer.name: received 'lion'. Known: adamw, rmsprop, sgd."),
    ("train.schedule.name=cosin", "train.schedule.name: received 'cosin'. Did you mean 'cosine'?"),
    ("train.schedule.decay=0.1", "train.schedule: missing the key 'name'. Known: constant, cosine, exponential,"),
    # an option the variant has not
    ("model.bn_gamma=true", "model: googlenet has no option 'bn_gamma', received True."),
    ("model.image_size=8", "model: image_size 8 is too small for googlenet"),
    # a source of no known kind, or half a one
    ("data.source=tdfs:mnist", "data: source kind 'tdfs' is unknown. Did you mean 'tfds'?"),
    ("data.source=somewhere/images", "data: source kind 'somewhere/images' is unknown."),
    ("data.source=tfds", "data: 'tfds' is incomplete. Write 'digits', 'tfds:<name>' or 'folder:<path>'."),
    ("data.source=folder:", "data: 'folder:' is incomplete."),
    ("data.source=digits:8", "data: 'digits:8' is incomplete."),
    # values that do not fit together, and values that are needed
    ("data.test_fraction=0.9", "data: validation_fraction 0.1 and test_fraction 0.9 leave nothing to train on."),
    ("train.micro_batch_size=3", "train: micro_batch_size 3 does not divide batch_size 8."),
    ("train.schedule.name=step", "train.schedule.factor: missing, and it has no default."),
]  # fmt: skip


@pytest.mark.parametrize(("override", "says"), BAD, ids=[override for override, _ in BAD])
def test_a_bad_value_is_named_with_what_would_do(override: str, says: str) -> None:
    """The message has the key as the author wrote it, what was received, and the nearest valid word or the bound."""
    error = refused(LEAST, override)
    assert says in error.message
    assert error.exit_status == 2
    assert "--set section.key=value" in error.remedy


@pytest.mark.parametrize("part", ["data", "model", "train", "gate", "registry"])
def test_a_section_that_is_needed_is_named(part: str) -> None:
    """So is a section that is a value."""
    values = config.parse(LEAST).model_dump(mode="json")
    without = {name: section for name, section in values.items() if name != part}
    assert f"{part}: missing, and it has no default." in refused(json.dumps(without)).message
    assert f"{part}: received 3." in refused(json.dumps(values | {part: 3})).message


def test_all_problems_are_named_at_once() -> None:
    """Nobody has to mend them one run at a time."""
    error = refused(LEAST, "train.epoch=3", "gate.threshold=2", "model.variant=googlenett")
    assert error.message.startswith("recipe has 3 problems:\n")
    keys = [line.split(":")[0] for line in error.message.splitlines()[1:]]
    assert keys == ["  model", "  train.epoch", "  gate.threshold"]


# ------------------------------------------------------------------ bad files


@pytest.mark.parametrize("text", ["[data", 'source = "digits', "{not json", "data = {a = 1,,}"])
def test_text_that_is_no_toml_is_refused(text: str) -> None:
    """The message says where."""
    error = refused(text)
    assert error.message.startswith("recipe is not valid TOML: ")
    assert "line 1" in error.message or "at end" in error.message


@pytest.mark.parametrize("name", ["digts.toml", "Digits.toml", "digits", "digits.tml"])
def test_a_recipe_that_is_not_there_is_an_error_with_the_nearest(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shipped ones are offered."""
    monkeypatch.chdir(ROOT)
    with pytest.raises(RecipeError) as caught:
        config.load(f"configs/{name}")
    assert caught.value.message == f"There is no recipe at 'configs/{name}'."
    assert caught.value.remedy == "Did you mean 'configs/digits.toml'?"


def test_a_recipe_that_is_nowhere_near_gets_a_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in `configs/` of the working folder, which may be nothing; schedules are no recipes."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecipeError, match=r"no recipe at 'x'.\nNone are known."):
        config.load("x")
    (tmp_path / "configs").mkdir()
    for name in ("schedules", "mine"):
        (tmp_path / f"configs/{name}.toml").touch()
    with pytest.raises(RecipeError, match=r"no recipe at 'x'.\nKnown: configs/mine.toml."):
        config.load("x")


def test_a_file_that_is_no_text_is_an_error(tmp_path: Path) -> None:
    """A folder, or a picture: the path is named."""
    (tmp_path / "picture.toml").write_bytes(b"\x89PNG\xff\xfe")
    for path in (tmp_path, tmp_path / "picture.toml"):
        with pytest.raises(RecipeError, match="cannot be read") as caught:
            config.load(path)
        assert str(path) in caught.value.message


def test_a_files_problems_are_told_with_its_name(tmp_path: Path) -> None:
    """And overrides reach a recipe that is read from a file."""
    path = tmp_path / "mine.toml"
    path.write_text(LEAST)
    assert config.load(path, ["train.epochs=9"]).train.epochs == 9
    with pytest.raises(RecipeError, match=f"{path} has 1 problem:"):
        config.load(path, ["train.epochs=0"])
