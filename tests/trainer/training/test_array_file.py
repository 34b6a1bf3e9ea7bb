"""Arrays in a file: every type to the last bit, as the safetensors library reads them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file

from trainer.training import array_file

TYPES = [np.dtype(name) for name in array_file._TYPES if name != "bfloat16"] + [np.dtype(ml_dtypes.bfloat16)]


def test_every_type_comes_back_to_the_last_bit(tmp_path: Path) -> None:
    """Scalars and empty arrays too, whatever their order in memory."""
    random = np.random.default_rng(1)
    arrays = {}
    for kind in TYPES:
        values = random.integers(0, 2, (3, 4, 5)).astype(kind)
        arrays |= {f"{kind}": values, f"{kind} turned": values.T, f"{kind} some": values[::2, 1:3]}
        arrays |= {f"{kind} empty": values[:0], f"{kind} one": np.array(1).astype(kind)}
    sha256 = array_file.write(tmp_path / "x", arrays)
    found = array_file.read(tmp_path / "x", sha256)
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape), name
        assert found[name].tobytes() == array.tobytes(), name


def test_the_checksum_is_the_files(tmp_path: Path) -> None:
    """Computed on the way; another one is refused."""
    sha256 = array_file.write(tmp_path / "x", {"a": np.arange(5)})
    assert sha256 == hashlib.sha256((tmp_path / "x").read_bytes()).hexdigest()
    with pytest.raises(ValueError, match="the checksum does not match"):
        array_file.read(tmp_path / "x", "0" * 64)


def test_the_library_reads_the_file(tmp_path: Path) -> None:
    """The format is its own, so that any tool that knows it can look into a checkpoint."""
    many = {name: np.full((2, 3), number, kind) for number, (name, kind) in enumerate([("b/ü", "u1"), ("a", "f8")])}
    array_file.write(tmp_path / "ours", many)
    assert {name: array.tolist() for name, array in load_file(tmp_path / "ours").items()} == {
        name: array.tolist() for name, array in many.items()
    }


def test_numbers_of_the_other_byte_order_are_turned(tmp_path: Path) -> None:
    """The format has one order."""
    array_file.write(tmp_path / "x", {"a": np.arange(3, dtype=">f4")})
    assert load_file(tmp_path / "x")["a"].tolist() == [0.0, 1.0, 2.0]


@pytest.mark.parametrize("array", [np.array(["a"]), np.array([None]), np.array([1j])])
def test_a_type_that_the_format_has_not_is_refused_by_name(array: np.ndarray, tmp_path: Path) -> None:
    """Before anything is written."""
    with pytest.raises(TypeError, match="'x' is of type"):
        array_file.write(tmp_path / "file", {"x": array})
    assert not (tmp_path / "file").exists()
