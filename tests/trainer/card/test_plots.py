from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb
from numpy.typing import NDArray
from PIL import Image

from trainer.card import matrix, plots
from trainer.record import Epoch
from trainer.scorecard import Bin

THEMES = {"light": plots.LIGHT, "dark": plots.DARK, "print": plots.PRINT}


def opened(png: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(png))
    assert image.format == "PNG"
    image.load()
    return image


def pixels(png: bytes) -> NDArray[np.int64]:
    return np.asarray(opened(png).convert("RGBA")).astype(np.int64)


def painted(png: bytes, colour: str) -> int:
    """How many pixels have about this colour."""
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return int((np.abs(pixels(png)[..., :3] - wanted).sum(axis=-1) < 30).sum())


def epoch(number: int, member: int = 1, **changes: float) -> Epoch:
    figures = {
        "loss": 2.0 / number,
        "accuracy": 1 - 0.8 / number,
        "validation_loss": 2.2 / number,
        "validation_accuracy": 1 - 0.9 / number,
        "learning_rate": 0.01,
        "images_per_second": 100.0,
        "seconds": 1.0,
    }
    return Epoch(epoch=number, member=member, **(figures | changes))


def confusion(classes: int, mistakes: int = 3) -> list[list[int]]:
    counts = 50 * np.eye(classes, dtype=int)
    rows = np.random.default_rng(0).integers(0, classes, (mistakes * classes, 2))
    np.add.at(counts, (rows[:, 0], rows[:, 1]), 1)
    return counts.tolist()


@pytest.mark.parametrize("count", [1, 2, 30, 300])
@pytest.mark.parametrize("theme", THEMES)
def test_curves_show_training_and_validation_whatever_the_number_of_epochs(count: int, theme: str) -> None:
    """Both lines are visible in both panels, and the learning rate in its own, for one epoch as for three hundred."""
    epochs = [epoch(number) for number in range(1, count + 1)]
    for panel in ("accuracy", "loss"):
        png = plots.curves(epochs, THEMES[theme], panels=(panel,))
        assert painted(png, THEMES[theme].right) > 20
        assert painted(png, THEMES[theme].wrong) > 20
    rate, nothing = (
        plots.curves(
            [one.model_copy(update={"learning_rate": value}) for one in epochs], THEMES[theme], ("learning_rate",)
        )
        for value in (0.01, 0.0)
    )
    assert painted(rate, THEMES[theme].ink) > painted(nothing, THEMES[theme].ink) + 20


def test_a_single_panel_is_a_third_as_wide() -> None:
    """On a phone the panels lie one above the other, so each can be had alone."""
    all_of_them, alone = (plots.curves([epoch(1), epoch(2)], panels=panels) for panels in (plots.PANELS, ("loss",)))
    assert opened(all_of_them).width == pytest.approx(3 * opened(alone).width, abs=3)


def ensemble(*lengths: int) -> list[Epoch]:
    """Members that differ a little."""
    return [
        epoch(number, member=member, accuracy=0.1 * member + 0.005 * number, validation_accuracy=0.1)
        for member, length in enumerate(lengths, start=1)
        for number in range(1, length + 1)
    ]


def test_every_member_of_an_ensemble_is_a_line_and_so_is_their_mean() -> None:
    """A thick line as for one network, and a pale one for each."""
    pale = to_hex(0.45 + 0.55 * np.array(to_rgb(plots.PRINT.right)))
    alone, three = (plots.curves(ensemble(*lengths), panels=("accuracy",)) for lengths in ((40,), (40, 35, 30)))
    assert painted(alone, pale) < 0.5 * painted(three, pale)
    assert painted(three, plots.PRINT.right) > 0.5 * painted(alone, plots.PRINT.right)


@pytest.mark.parametrize(
    ("lengths", "chosen", "rings"), [((9,), [5], 1), ((9,), [9], 0), ((9,), [], 0), ((9, 7, 8), [4, 7, 5], 2)]
)
def test_the_epoch_whose_weights_are_kept_is_marked(lengths: tuple[int, ...], chosen: list[int], rings: int) -> None:
    """Of every network, unless it is the last one."""
    marked, plain = (plots.curves(ensemble(*lengths), panels=("accuracy",), chosen=kept) for kept in (chosen, []))
    # The legend's own ring and words go with the first.
    more = painted(marked, plots.PRINT.ink) - painted(plain, plots.PRINT.ink)
    assert (more > 0) == (rings > 0)
    if rings > 1:
        one = painted(plots.curves(ensemble(*lengths), panels=("accuracy",), chosen=[*chosen[:2], 8]), plots.PRINT.ink)
        assert painted(marked, plots.PRINT.ink) > one > painted(plain, plots.PRINT.ink)


@pytest.mark.parametrize("loss", [0.0, 1e-9, 1e9])
def test_curves_can_draw_extreme_losses(loss: float) -> None:
    """A loss of nothing, of almost nothing and of very much does not break the axis."""
    opened(plots.curves([epoch(1), epoch(2, loss=loss, validation_loss=loss)]))


@pytest.mark.parametrize("classes", [2, 10, 25, 26, 100, 101, 200])
def test_a_confusion_matrix_stays_readable(classes: int) -> None:
    """It grows with the classes as long as that helps, and is cut down to the worst-confused ones after that."""
    image = opened(matrix.confusion_matrix([f"class {i}" for i in range(classes)], confusion(classes)))
    pixels_a_class = image.width / min(classes, matrix.WORST_CLASSES if classes > matrix.MATRIX_LIMIT else classes)
    assert pixels_a_class > 20
    assert image.width < 3600


def test_the_worst_confused_classes_are_the_ones_shown() -> None:
    """Of more than a hundred classes those that lose and attract most examples are drawn, in their own order."""
    counts = 50 * np.eye(200, dtype=int)
    counts[150, 7] = 30
    counts[3, 199] = 20
    shown = matrix.shown_classes(counts.tolist())
    assert len(shown) == matrix.WORST_CLASSES
    assert {150, 7, 3, 199} <= set(shown)
    assert shown == sorted(shown)


def test_a_small_matrix_shows_all_classes() -> None:
    """Nothing is left out of what can be read."""
    assert matrix.shown_classes(confusion(100)) == list(range(100))


@pytest.mark.parametrize("theme", [plots.LIGHT, plots.DARK], ids=["light", "dark"])
def test_one_mistake_in_a_thousand_can_be_seen(theme: plots.Theme) -> None:
    """Its cell is clearly not the colour of an empty one."""
    on_ground = plots.Theme(theme.base, theme.base, theme.ink, theme.faint, theme.right, theme.wrong)
    clean = pixels(matrix.confusion_matrix(["a", "b"], [[1000, 0], [0, 1000]], on_ground))
    spotted = pixels(matrix.confusion_matrix(["a", "b"], [[999, 1], [0, 1000]], on_ground))
    assert int((np.abs(clean - spotted).sum(axis=-1) > 60).sum()) > 2000


def test_right_and_wrong_differ_in_hue() -> None:
    """The diagonal is painted in the one colour, the mistakes in the other."""
    png = matrix.confusion_matrix(["a", "b"], [[0, 10], [0, 10]])
    assert painted(png, plots.PRINT.wrong) > 1000
    assert painted(matrix.confusion_matrix(["a", "b"], [[10, 0], [0, 10]]), plots.PRINT.wrong) == 0


@pytest.mark.parametrize("name", ["$\\frac{", "$x^2$", "", "a\nb", "\x00", "猫", "x" * 500, "<script>", "🐈", "_%&#"])
def test_any_class_name_can_be_drawn(name: str) -> None:
    """Names are text: no formula, no line break, no length and no script breaks the picture."""
    image = opened(matrix.confusion_matrix([name, "dog"], [[5, 1], [2, 7]]))
    assert image.width < 1500


def test_a_class_without_examples_leaves_an_empty_row() -> None:
    """Its shares are nothing, not a division by nothing."""
    opened(matrix.confusion_matrix(["a", "b"], [[0, 0], [1, 3]]))


@pytest.mark.parametrize(
    "bins",
    [
        [Bin(lower=0.9, upper=1.0, count=1, confidence=0.99, accuracy=1.0)],
        [Bin(lower=i / 15, upper=(i + 1) / 15, count=10**i, confidence=i / 15, accuracy=0.5) for i in range(15)],
        [],
    ],
    ids=["one bin", "all bins", "no bin"],
)
def test_a_reliability_diagram_can_be_drawn(bins: list[Bin]) -> None:
    """Of one bin, of all, and of none."""
    opened(plots.reliability(bins))


DRAW: dict[str, Callable[[plots.Theme], bytes]] = {
    "curves": lambda theme: plots.curves([epoch(1), epoch(2)], theme),
    "confusion": lambda theme: matrix.confusion_matrix(["a", "b"], [[5, 1], [2, 7]], theme),
    "reliability": lambda theme: plots.reliability(
        [Bin(lower=0.9, upper=1.0, count=5, confidence=0.95, accuracy=0.9)], theme
    ),
}


@pytest.mark.parametrize("draw", DRAW.values(), ids=DRAW.keys())
def test_pictures_in_the_card_are_transparent_and_files_are_not(draw: Callable[[plots.Theme], bytes]) -> None:
    """The card has a ground of its own in either mode; a file is shown on a ground nobody knows."""
    assert pixels(draw(plots.LIGHT))[0, 0, 3] == 0
    assert pixels(draw(plots.DARK))[0, 0, 3] == 0
    assert pixels(draw(plots.PRINT))[..., 3].min() == 255


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours (WCAG 2.1, definition of relative luminance)."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", THEMES.values(), ids=THEMES.keys())
def test_colours_stand_out_from_the_ground(theme: plots.Theme) -> None:
    """Text by 7 to 1 (WCAG AAA), lines and cells by 3 to 1 (WCAG 1.4.11)."""
    assert contrast(theme.ink, theme.base) >= 7
    assert contrast(theme.right, theme.base) >= 3
    assert contrast(theme.wrong, theme.base) >= 3


def test_drawing_touches_no_global_figure() -> None:
    """`matplotlib.pyplot`, which keeps figures and picks a backend, is not even imported."""
    code = "import sys, trainer.card.plots; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
