"""The verb `prepare`: from real files to a prepared dataset, and everything that may go wrong on the way."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from trainer.config import Data
from trainer.data.images import decode, identity
from trainer.data.near_duplicates import perceptual_hash
from trainer.data.prepared import PreparedDataset, open_prepared
from trainer.data.sources import open_source
from trainer.data.sources.folder import FolderSource
from trainer.data.splits import SPLITS
from trainer.errors import DataError, StateError
from trainer.prepare import prepare
from trainer.record import Prepared
from trainer.state import State

SHARED = Path(__file__).resolve().parents[2] / ".." / "shared" / "data"


def photo(seed: int, height: int = 24, width: int = 32, kind: str = "PNG", mode: str = "RGB") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, kind)
    return file.getvalue()


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State.open(tmp_path / "state")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of thirty images each, of one shape."""
    fill(tmp_path / "images", {"cat": range(30), "dog": range(100, 130)})
    return tmp_path / "images"


def fill(folder: Path, classes: dict[str, range], **options: Any) -> None:
    for name, seeds in classes.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for seed in seeds:
            (folder / name / f"{seed:04d}.png").write_bytes(photo(seed, **options))


def run(folder: Path | str, state: State, **options: Any) -> tuple[Prepared, PreparedDataset]:
    source = f"folder:{folder}" if isinstance(folder, Path) else folder
    data = Data.model_validate({"source": source, "max_rejected_share": 0.5, **options})
    made = prepare(data, open_source(data, state).fingerprint().digest, state)
    return made, open_prepared(made.path)


def whole(dataset: PreparedDataset) -> Iterator[tuple[str, str, str]]:
    """Split, path and identity of every example."""
    for name in SPLITS:
        split = dataset.split(name)
        for path, content in zip(split.table["path"].to_pylist(), split.identities, strict=True):
            yield name, path, content


def sides(dataset: PreparedDataset) -> dict[str, str]:
    return {path: split for split, path, _ in whole(dataset)}


# ---------------------------------------------------------------------- the straight path


def test_what_was_put_in_can_be_read_at_random(folder: Path, state: State) -> None:
    """Every image is in one split, under its identity, with its label, pixels, size and brightness."""
    made, dataset = run(folder, state)
    assert made.classes == ["cat", "dog"]
    assert sum(map(sum, made.counts.values())) == 60
    assert set(sides(dataset)) == {p.relative_to(folder).as_posix() for p in folder.rglob("*.png")}
    for name in SPLITS:
        split = dataset.split(name)
        assert split.identities == sorted(split.identities)
        assert np.bincount(split.labels, minlength=2).tolist() == made.counts[name]
        for index in reversed(range(len(split))):
            row = split.table.slice(index, 1).to_pylist()[0]
            original = decode((folder / row["path"]).read_bytes())
            assert np.array_equal(split.image(index), original)
            assert split.identities[index] == identity(original)
            assert made.classes[split.labels[index]] == row["path"].split("/")[0]
            assert (row["height"], row["width"]) == original.shape[:2]
            assert row["brightness"] == pytest.approx(original.mean(), rel=1e-5)


def test_the_manifest_has_the_statistics_of_the_train_split(folder: Path, state: State) -> None:
    """Mean and standard deviation are over all pixels of the training images, per channel."""
    _, dataset = run(folder, state)
    train = dataset.split("train").images(np.arange(len(dataset.split("train"))))
    assert dataset.manifest.mean == pytest.approx(train.mean(axis=(0, 1, 2)).tolist())
    assert dataset.manifest.std == pytest.approx(train.std(axis=(0, 1, 2)).tolist())


def test_statistics_of_images_of_many_sizes_weigh_every_pixel_alike(tmp_path: Path, state: State) -> None:
    """A large image counts for more than a small one."""
    for seed in range(40):
        fill(tmp_path / "i", {"ab"[seed % 2]: range(seed, seed + 1)}, height=10 + seed, width=60 - seed)
    _, dataset = run(tmp_path / "i", state)
    train = dataset.split("train")
    pixels = np.concatenate([train.image(i).reshape(-1, 3) for i in range(len(train))])
    assert dataset.manifest.mean == pytest.approx(pixels.mean(axis=0).tolist())
    assert dataset.manifest.std == pytest.approx(pixels.std(axis=0).tolist())
    assert dataset.manifest.height == (10, 49)
    assert dataset.manifest.width == (21, 60)


ENCODINGS: dict[str, tuple[tuple[int, int], tuple[int, int], str, tuple[int, int] | None]] = {
    "small and alike": ((24, 32), (24, 32), "raw", (24, 32)),
    "the largest that is small": ((64, 64), (64, 64), "raw", (64, 64)),
    "large and alike": ((80, 90), (80, 90), "encoded", (80, 90)),
    "small and different": ((24, 32), (24, 31), "encoded", None),
    "small, then one large": ((24, 32), (80, 90), "encoded", None),
    "large, then one small": ((80, 90), (24, 32), "encoded", None),
}


@pytest.mark.parametrize("kind", ENCODINGS)
def test_images_of_one_small_shape_are_stored_raw(kind: str, tmp_path: Path, state: State) -> None:
    """All of one small shape: pixels. Otherwise: the files' own bytes, whenever the odd one out appears."""
    usual, last, encoding, shape = ENCODINGS[kind]
    fill(tmp_path / "i", {"a": range(20), "b": range(20, 39)}, height=usual[0], width=usual[1])
    fill(tmp_path / "i", {"b": range(39, 40)}, height=last[0], width=last[1])
    _, dataset = run(tmp_path / "i", state)
    assert dataset.manifest.encoding == encoding
    assert dataset.manifest.shape == shape
    for split in map(dataset.split, SPLITS):
        assert split.shape == shape
        assert [identity(split.image(i)) for i in range(len(split))] == split.identities
        if shape:
            indices = np.array([len(split) - 1, 0, 0])
            assert np.array_equal(split.images(indices), np.stack([split.image(int(i)) for i in indices]))
            assert split.images([]).shape == (0, *shape, 3)
        else:
            with pytest.raises(ValueError, match="differ in shape"):
                split.images([0])
    files = {p.name for p in dataset.path.rglob("*") if p.is_file()}
    assert files == {"manifest.json", "examples.parquet", "images.npy" if encoding == "raw" else "images.array_record"}


def test_a_raw_file_is_a_plain_npy(folder: Path, state: State) -> None:
    """numpy opens the payload of a split by itself, one row per example."""
    _, dataset = run(folder, state)
    pixels = np.load(dataset.path / "train" / "images.npy")
    assert pixels.shape == (len(dataset.split("train")), 24, 32, 3)


def test_prepared_once_it_is_not_prepared_again(folder: Path, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second call returns the same summary and reads no image."""
    first, _ = run(folder, state)

    def never(*_: Any) -> Any:
        raise AssertionError("read again")

    monkeypatch.setattr(FolderSource, "examples", never)
    second, _ = run(folder, state)
    assert second.model_copy(update={"seconds": 0}) == first.model_copy(update={"seconds": 0})


def test_the_dataset_does_not_depend_on_names_and_places(folder: Path, state: State, tmp_path: Path) -> None:
    """The same images in another folder under other names make the same splits in the same order."""
    _, one = run(folder, state)
    for path in sorted(folder.rglob("*.png")):
        target = tmp_path / "other" / path.parent.name / f"{999 - int(path.stem):04d}.jpeg"
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    _, two = run(tmp_path / "other", state)
    assert [(s, i) for s, _, i in whole(one)] == [(s, i) for s, _, i in whole(two)]
    assert one.manifest.identity_digests == two.manifest.identity_digests


@pytest.mark.parametrize("seed", range(5))
def test_a_growing_folder_keeps_every_example_on_its_side(seed: int, tmp_path: Path, state: State) -> None:
    """After images are added, before and between the earlier ones, each earlier one is where it was."""
    rng = np.random.default_rng(seed)
    seeds = rng.permutation(10_000)
    for index, one in enumerate(seeds[:60]):
        fill(tmp_path / "i", {"ab"[index % 2]: range(one, one + 1)}, height=9, width=9)
    _, before = run(tmp_path / "i", state)
    for index, one in enumerate(seeds[60:110]):
        fill(tmp_path / "i", {"ab"[index % 2]: range(one, one + 1)}, height=9, width=9)
    _, after = run(tmp_path / "i", state)
    assert before.manifest.fingerprint != after.manifest.fingerprint
    assert sides(before).items() <= sides(after).items()
    assert len(sides(after)) == 110


def test_official_splits_stay_and_missing_ones_come_out_of_train(tmp_path: Path, state: State) -> None:
    """With train and validation folders, test is carved out of train alone."""
    fill(tmp_path / "i" / "train", {"a": range(40), "b": range(40, 80)})
    fill(tmp_path / "i" / "validation", {"a": range(100, 105), "b": range(105, 110)})
    made, dataset = run(tmp_path / "i", state)
    assert made.counts["validation"] == [5, 5]
    where = sides(dataset)
    assert all(where[path] == "validation" for path in where if path.startswith("validation/"))
    assert {where[path] for path in where if path.startswith("train/")} == {"train", "test"}


# ---------------------------------------------------------------------- what is left out


def exploded(path: Path) -> None:
    (path / "empty.jpg").write_bytes(b"")
    (path / "notes.jpg").write_text("these are notes")
    (path / "cut.jpg").write_bytes(photo(900, 90, 90, "JPEG")[:1500])
    (path / "dot.gif").write_bytes(photo(901, 1, 1, "GIF"))
    (path / "link.png").symlink_to("nowhere")


def test_unusable_files_are_listed_with_their_reasons(folder: Path, state: State) -> None:
    """Each bad file is in the manifest by its path, the good ones are all there."""
    exploded(folder / "cat")
    made, dataset = run(folder, state)
    reasons = {one.path: one.reason for one in dataset.manifest.rejected}
    assert set(reasons) == {f"cat/{name}" for name in ("empty.jpg", "notes.jpg", "cut.jpg", "dot.gif", "link.png")}
    for name, reason in {"empty": "empty", "notes": "not an image", "cut": "truncated", "dot": "1×1"}.items():
        assert reason in next(text for path, text in reasons.items() if path.startswith(f"cat/{name}"))
    assert made.rejected_total == 5
    assert made.rejected == dataset.manifest.rejected
    assert dataset.manifest.candidates == 65
    assert len(sides(dataset)) == 60


def test_images_of_every_mode_are_accepted(folder: Path, state: State) -> None:
    """CMYK, grey and palette images among the others are examples like them."""
    for seed, (kind, mode) in enumerate([("JPEG", "CMYK"), ("PNG", "L"), ("GIF", "P"), ("PNG", "RGBA")], start=500):
        (folder / "cat" / f"{mode}.{kind.lower()}").write_bytes(photo(seed, kind=kind, mode=mode))
    made, _ = run(folder, state)
    assert made.rejected_total == 0
    assert sum(made.counts[split][0] for split in SPLITS) == 34


def test_of_equal_images_in_a_class_one_is_kept(folder: Path, state: State) -> None:
    """The later ones are listed with the one they repeat, also where the files differ and the pixels do not."""
    (folder / "cat" / "0005 copy.png").write_bytes(photo(5))
    (folder / "cat" / "9999.bmp").write_bytes(photo(5, kind="BMP"))
    _, dataset = run(folder, state)
    assert {(one.path, one.reason) for one in dataset.manifest.rejected} == {
        ("cat/0005.png", "duplicate of cat/0005 copy.png"),
        ("cat/9999.bmp", "duplicate of cat/0005 copy.png"),
    }
    assert len(sides(dataset)) == 60


def test_of_equal_images_in_two_classes_none_is_kept(folder: Path, state: State) -> None:
    """Where the same picture is called a cat and a dog, every copy is left out and says why."""
    for name in ("again.png", "once more.png"):
        (folder / "dog" / name).write_bytes(photo(5))
    _, dataset = run(folder, state)
    reasons = {one.path: one.reason for one in dataset.manifest.rejected}
    assert reasons == {
        "cat/0005.png": "same content as dog/again.png, which is in the class dog",
        "dog/again.png": "same content as cat/0005.png, which is in the class cat",
        "dog/once more.png": "same content as cat/0005.png, which is in the class cat",
    }
    assert len(sides(dataset)) == 59
    assert identity(decode(photo(5))) not in {content for _, _, content in whole(dataset)}


def test_a_training_image_that_is_in_the_test_split_is_left_out_of_train(tmp_path: Path, state: State) -> None:
    """The more precious split keeps the image: test before validation before train."""
    root = tmp_path / "i"
    for split, start in (("train", 0), ("validation", 200), ("test", 300)):
        fill(root / split, {"a": range(start, start + 6), "b": range(start + 50, start + 56)})
    (root / "train" / "a" / "leak.png").write_bytes(photo(300))
    (root / "validation" / "a" / "leak.png").write_bytes(photo(301))
    (root / "train" / "b" / "leak.png").write_bytes(photo(250))
    _, dataset = run(root, state)
    assert {one.path for one in dataset.manifest.rejected} == {
        "train/a/leak.png",
        "validation/a/leak.png",
        "train/b/leak.png",
    }
    assert len({content for _, _, content in whole(dataset)}) == 36


def test_too_many_unusable_images_stop_the_run(folder: Path, state: State) -> None:
    """More than the allowed share is an error with the first ones, the share, and a file that has all."""
    exploded(folder / "cat")
    with pytest.raises(DataError, match=r"5 of the 65 images .* 7\.7%.* allows 2\.0%") as caught:
        run(folder, state, max_rejected_share=0.02)
    assert "cat/cut.jpg: truncated" in caught.value.message
    listing = next(state.root.rglob("rejected.tsv"))
    assert str(listing) in caught.value.remedy
    assert len(listing.read_text().splitlines()) == 5
    assert not list(state.root.rglob("manifest.json"))
    # Exactly the share is allowed, and what has been allowed once is judged again under a stricter recipe.
    run(folder, state, max_rejected_share=5 / 65)
    with pytest.raises(DataError, match="allows 2"):
        run(folder, state, max_rejected_share=0.02)


# ---------------------------------------------------------------------- what looks alike


def scene(seed: int) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((160, 120), Image.Resampling.BICUBIC)


def test_test_images_that_are_in_train_over_again_are_reported(tmp_path: Path, state: State) -> None:
    """Smaller, or saved with less quality: pairs are counted and named, and stay in the dataset."""
    for split, first in (("train", 0), ("validation", 100), ("test", 200)):
        for name, offset in (("a", 0), ("b", 50)):
            (tmp_path / "i" / split / name).mkdir(parents=True)
            for number in range(12):
                scene(first + offset + number).save(tmp_path / "i" / split / name / f"{number}.png")
    scene(203).save(tmp_path / "i" / "train" / "a" / "again.jpg", quality=60)
    scene(255).resize((80, 60)).save(tmp_path / "i" / "train" / "b" / "smaller.png")
    scene(105).save(tmp_path / "i" / "train" / "a" / "of validation.jpg")
    made, dataset = run(tmp_path / "i", state)
    assert {(one.train, one.test) for one in made.near_duplicates} == {
        ("train/a/again.jpg", "test/a/3.png"),
        ("train/b/smaller.png", "test/b/5.png"),
    }
    assert made.near_duplicates_total == 2
    assert all(one.distance <= 4 for one in made.near_duplicates)
    assert made.near_duplicates == dataset.manifest.near_duplicates
    assert sum(map(sum, made.counts.values())) == 75


def test_every_example_has_its_perceptual_hash(folder: Path, state: State) -> None:
    """In the table, of the pixels that were decoded."""
    _, dataset = run(folder, state)
    test = dataset.split("test")
    hashes = [perceptual_hash(test.image(index)) for index in range(len(test))]
    assert test.table["hash"].to_pylist() == hashes
    assert dataset.manifest.near_duplicates_total == 0


# ---------------------------------------------------------------------- limits and impossible sources


@pytest.mark.parametrize("limit", [10, 15, 1000])
def test_a_limit_takes_the_smallest_identities_of_each_split(limit: int, folder: Path, state: State) -> None:
    """A trial on few examples takes a subset of what the whole run takes, the same whatever the order of reading."""
    _, every = run(folder, state, test_fraction=0.3, validation_fraction=0.3)
    _, few = run(folder, state, test_fraction=0.3, validation_fraction=0.3, limit=limit)
    for name in SPLITS:
        assert few.split(name).identities == every.split(name).identities[:limit]
        assert [identity(few.split(name).image(i)) for i in range(len(few.split(name)))] == few.split(name).identities


def only_one_class(folder: Path) -> None:
    for path in (folder / "dog").iterdir():
        path.unlink()
    (folder / "dog").rmdir()


def only_bad_dogs(folder: Path) -> None:
    for path in (folder / "dog").iterdir():
        path.write_text("no image")


def few_dogs(folder: Path) -> None:
    for path in sorted((folder / "dog").iterdir())[2:]:
        path.unlink()


IMPOSSIBLE: dict[str, tuple[Callable[[Path], None], dict[str, Any], str, str]] = {
    "one class": (only_one_class, {}, "only 1 class: cat", "at least two"),
    "a class of which nothing is usable": (
        only_bad_dogs,
        {},
        r"class 'dog' .* no image in the train split \(0 in train, 0 in validation, 0 in test\)",
        "Add images",
    ),
    "a class too small to be in every split": (few_dogs, {}, r"class 'dog' .* no image in the", "fraction"),
    "no validation": (lambda _: None, {"validation_fraction": 0}, "no image for the validation split", "is 0.0"),
    "no test": (lambda _: None, {"test_fraction": 0}, "no image for the test split", "raise data.test_fraction"),
    "a limit that loses a class": (lambda _: None, {"limit": 1}, "no image in the train split", "raise data.limit"),
}


@pytest.mark.parametrize("kind", IMPOSSIBLE)
def test_a_source_that_cannot_be_trained_on_says_what_is_missing(kind: str, folder: Path, state: State) -> None:
    """Too few classes, a class without images, an empty split: named, counted, with a remedy, and nothing is kept."""
    spoil, options, message, remedy = IMPOSSIBLE[kind]
    spoil(folder)
    with pytest.raises(DataError, match=message) as caught:
        run(folder, state, **options)
    assert remedy in caught.value.remedy
    assert not [p for p in (state.root / "data").glob("*") if p.is_dir()]


def test_a_source_that_changed_since_it_was_checked_is_refused(folder: Path, state: State) -> None:
    """What lies under a fingerprint is what the fingerprint says."""
    data = Data(source=f"folder:{folder}")
    fingerprint = open_source(data, state).fingerprint().digest
    (folder / "cat" / "new.png").write_bytes(photo(777))
    with pytest.raises(DataError, match="changed since it was checked"):
        prepare(data, fingerprint, state)


def test_a_source_that_changes_while_it_is_read_is_refused(
    folder: Path, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that appears or changes halfway ends the run; the next one takes it in."""
    examples = FolderSource.examples

    def while_writing(source: FolderSource) -> Iterator[Any]:
        yield from examples(source)
        (folder / "cat" / "new.png").write_bytes(photo(777))

    with monkeypatch.context() as patched:
        patched.setattr(FolderSource, "examples", while_writing)
        with pytest.raises(DataError, match="changed while it was read") as caught:
            run(folder, state)
    assert "Run again" in caught.value.remedy
    assert len(sides(run(folder, state)[1])) == 61


# ---------------------------------------------------------------------- crashes, full disks, company


def script(folder: Path, state: State, *, before: str = "", after: str = "", **options: Any) -> list[str]:
    """A process of its own that prepares the folder."""
    given = {"source": f"folder:{folder}", "max_rejected_share": 0.5, **options}
    lines = f"""
    import json, os, signal, sys, resource
    from pathlib import Path
    from trainer import events, prepare as verb
    from trainer.config import Data
    from trainer.data import writing
    from trainer.data.sources import open_source
    from trainer.errors import InceptionError
    from trainer.state import State
    data, state = Data.model_validate({given!r}), State.open({str(state.root)!r})
    fingerprint = open_source(data, state).fingerprint().digest
    {before}
    try:
        made = verb.prepare(data, fingerprint, state)
    except InceptionError as error:
        print(json.dumps([type(error).__name__, str(error)]))
        raise SystemExit(1)
    {after}
    """
    return [sys.executable, "-c", textwrap.dedent(lines)]


KILLED_AT = {
    "while reading": "verb.events.progress = lambda *_: die()",
    "before the tables": "writing.DatasetWriter._write_table = lambda *_: die()",
    "before the manifest": "writing._write_synced = lambda *_: die()",
    "before publishing": "writing.DatasetWriter._publish = lambda *_: die()",
}


@pytest.mark.parametrize("moment", KILLED_AT)
def test_a_killed_preparation_leaves_nothing_half_there(moment: str, folder: Path, state: State) -> None:
    """Killed at any moment, there is no dataset; the next run makes it whole and removes the remains."""
    before = f"die = lambda: os.kill(os.getpid(), signal.SIGKILL); {KILLED_AT[moment]}"
    killed = subprocess.run(script(folder, state, before=before), capture_output=True, timeout=60, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    remains = [p for p in (state.root / "data").iterdir() if p.is_dir()]
    assert [p.name[0] for p in remains] == ["."]
    made, dataset = run(folder, state)
    assert len(sides(dataset)) == 60
    assert [p for p in (state.root / "data").iterdir() if p.is_dir()] == [Path(made.path)]


@pytest.mark.parametrize("size", [(40, 40), (100, 100)], ids=["raw", "encoded"])
def test_a_full_disk_is_one_clear_message(size: tuple[int, int], tmp_path: Path, state: State) -> None:
    """When a file cannot grow any more, the run says so, leaves nothing behind, and succeeds once there is space."""
    fill(tmp_path / "i", {"a": range(30), "b": range(30, 60)}, height=size[0], width=size[1])
    before = "resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))"
    full = subprocess.run(
        script(tmp_path / "i", state, before=before, test_fraction=0.4),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert full.returncode == 1, full.stderr
    kind, message = json.loads(full.stdout.splitlines()[-1])
    assert kind == "StateError"
    assert "No space is left" in message
    assert full.stderr == ""
    assert [p for p in (state.root / "data").iterdir() if p.is_dir()] == []
    assert len(sides(run(tmp_path / "i", state, test_fraction=0.4)[1])) == 60


def test_two_at_once_make_one_dataset(folder: Path, state: State) -> None:
    """Two processes that prepare the same images both end well; one of them reads the images."""
    after = "print(json.dumps([made.path, made.counts]))"
    both = [subprocess.Popen(script(folder, state, after=after), stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate(timeout=60)[0].splitlines() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert outputs[0][-1] == outputs[1][-1]
    assert sum(line.startswith("2 classes") for lines in outputs for line in lines) == 1


def test_an_unreadable_or_older_dataset_is_made_anew(folder: Path, state: State) -> None:
    """A manifest of another format, a damaged one, and a missing file are no dataset; preparing again heals it."""
    made, dataset = run(folder, state)
    manifest = dataset.path / "manifest.json"
    good = manifest.read_text()
    for spoil in (
        lambda: manifest.write_text("{"),
        lambda: manifest.write_text(json.dumps(json.loads(good) | {"format": 0})),
        (dataset.path / "test" / "images.npy").unlink,
    ):
        spoil()
        with pytest.raises(StateError, match="no prepared dataset") as caught:
            open_prepared(made.path)
        assert "Run again" in caught.value.remedy
        assert len(sides(run(folder, state)[1])) == 60


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_state_folder_that_may_not_be_written_is_a_state_error(folder: Path, state: State) -> None:
    """Without write permission the message names the folder."""
    data = Data(source=f"folder:{folder}")
    fingerprint = open_source(data, state).fingerprint().digest
    state.root.chmod(0o500)
    try:
        with pytest.raises(StateError, match="may not be written"):
            prepare(data, fingerprint, state)
    finally:
        state.root.chmod(0o700)


def test_a_file_in_the_place_of_the_data_folder_is_a_state_error(folder: Path, state: State) -> None:
    """Something else where the datasets should go is named."""
    (state.root / "data").write_text("in the way")
    with pytest.raises(StateError, match="data is not a folder"):
        run(folder, state)


def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path, state: State) -> None:
    """Four times as many photographs take no more memory: the pixels of the others would be 370 MB."""
    peaks = []
    for count in (60, 240):
        for index in range(count):
            coarse = np.random.default_rng(index).integers(0, 256, (9, 12, 3), dtype=np.uint8)
            path = tmp_path / str(count) / "ab"[index % 2] / f"{index}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(coarse).resize((960, 720), Image.Resampling.NEAREST).save(path, quality=50)
        # Not getrusage's peak: that counts what the process that began this one had, too.
        after = "print(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])"
        ended = subprocess.run(
            script(tmp_path / str(count), state, after=after), capture_output=True, text=True, timeout=120, check=True
        )
        peaks.append(float(ended.stdout.splitlines()[-1]) / 1024)
    assert peaks[1] - peaks[0] < 40


# ---------------------------------------------------------------------- progress, and the real thing


def test_progress_is_told_and_ends_at_the_total(
    folder: Path, state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event file says how many images are done, in rising numbers up to all of them, and one note sums up."""
    monkeypatch.setenv("INCEPTION_EVENTS", str(tmp_path / "events"))
    run(folder, state)
    told = [json.loads(line) for line in (tmp_path / "events").read_text().splitlines()]
    done = [event["done"] for event in told if event["kind"] == "progress"]
    assert done == sorted(done)
    assert done[-1] == 60
    assert {(e["step"], e["total"], e["unit"]) for e in told if e["kind"] == "progress"} == {("prepare", 60, "images")}
    assert next(e["line"] for e in told if e["kind"] == "note").startswith("2 classes, images: ")


def test_the_digits_are_prepared_with_nothing_left_out(state: State) -> None:
    """The embedded default: 1,797 images, ten classes in every split, stored raw, within the default tolerance."""
    made, dataset = run("digits", state, max_rejected_share=0.02)
    assert made.rejected_total == 0
    assert sum(map(sum, made.counts.values())) == 1797
    assert all(min(counts) > 5 for counts in made.counts.values())
    assert dataset.manifest.encoding == "raw"
    assert dataset.manifest.shape == (8, 8)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data folder with cats_and_dogs_filtered is not here")
def test_the_real_cats_and_dogs_are_prepared_with_nothing_left_out(state: State) -> None:
    """3,000 photographs of many sizes: validation as it is, test out of train, none rejected by the default."""
    made, dataset = run(SHARED / "cats_and_dogs_filtered", state, max_rejected_share=0.02)
    assert made.rejected_total == 0
    assert made.counts["validation"] == [500, 500]
    assert sum(made.counts["train"]) + sum(made.counts["test"]) == 2000
    assert dataset.manifest.encoding == "encoded"
