"""The `digits` source, and what every fingerprint must do without."""

from __future__ import annotations

import io
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from trainer.config import Data
from trainer.data.sources import digits, open_source
from trainer.state import State


def test_every_digit_is_there_as_scikit_learn_has_it(state: State) -> None:
    """1,797 images of 8×8, 0..16 spread over 0..255, with scikit-learn's labels."""
    bunch = load_digits()
    examples = list(open_source(Data(source="digits"), state).examples())
    assert len(examples) == 1797 == open_source(Data(source="digits"), state).total()
    assert [e.label for e in examples] == bunch.target.tolist()
    assert len({e.path for e in examples}) == 1797
    for example, ink in list(zip(examples, bunch.images, strict=True))[::50]:
        pixels = np.asarray(Image.open(io.BytesIO(example.payload)))
        assert pixels.shape == (8, 8, 3)
        assert np.allclose(pixels, ink[..., None] * 255 / 16, atol=0.5)
    assert Counter(e.split for e in examples) == {None: 1797}


def test_the_published_checksum_is_that_of_the_packaged_file() -> None:
    """Where scikit-learn is not installed the digest is the same as where it is."""
    digits.packaged.cache_clear()
    assert digits.packaged() == digits.PUBLISHED


WITHOUT = """
import sys
for absent in {absent!r}:
    sys.modules[absent] = None
from pathlib import Path
from trainer.config import Data
from trainer.data.sources import open_source
from trainer.state import State
print(open_source(Data(source={source!r}, data_dir={data_dir!r}), State.open({root!r})).fingerprint().digest)
heavy = {{"tensorflow", "keras", "mlflow", "sklearn", "pandas"}} & {{name for name, m in sys.modules.items() if m}}
assert not heavy, heavy
"""


@pytest.mark.parametrize(
    "absent",
    [(), ("tensorflow", "tensorflow_datasets", "keras", "sklearn", "array_record")],
    ids=["whole", "light image"],
)
@pytest.mark.parametrize("kind", ["digits", "folder", "tfds prepared", "tfds to download"])
def test_a_fingerprint_needs_no_tensorflow(kind: str, absent: tuple[str, ...], state: State, tmp_path: Path) -> None:
    """In the light image, without the training requirements, every source has the same digest as elsewhere."""
    for name in ("a", "b"):
        (tmp_path / "folder" / name).mkdir(parents=True)
        (tmp_path / "folder" / name / "1.png").write_bytes(b"anything: nothing is decoded")
    version = tmp_path / "prepared" / "shapes" / "1.0.0"
    version.mkdir(parents=True)
    (version / "dataset_info.json").write_text("{}")
    (version / "shapes-train.tfrecord-00000-of-00001").write_bytes(b"records")
    source, data_dir = {
        "digits": ("digits", None),
        "folder": (f"folder:{tmp_path / 'folder'}", None),
        "tfds prepared": ("tfds:shapes", str(tmp_path / "prepared")),
        "tfds to download": ("tfds:mnist:3.0.1", None),
    }[kind]
    code = WITHOUT.format(absent=absent, source=source, data_dir=data_dir, root=str(state.root))
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == open_source(Data(source=source, data_dir=data_dir), state).fingerprint().digest
