"""The card in a real browser: headless Chromium."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image, ImageStat

from trainer import report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SCHEMES = {"dark": "0", "light": "1"}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (Debian: apt-get install chromium)"),
]


def browse(page: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
            "--enable-logging=stderr", "--virtual-time-budget=3000", f"--user-data-dir={page.parent / 'profile'}",
            *options, page.as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip


def complaints(finished: subprocess.CompletedProcess[str]) -> list[str]:
    """Lines of the browser's console."""
    return [line for line in finished.stderr.splitlines() if "CONSOLE" in line]


@pytest.fixture
def card(make_record) -> Path:
    record = make_record(
        classes=("<script>alert(1)</script>", "a very long class name that goes on and on" * 3, "cat", "dog"),
        skill=4.0,
        champion_skill=1.5,
        rejected=[("a/" * 60 + "picture.jpg", "truncated")],
    )
    return Path(report.report(record.state, record.tick, "SUCCEEDED").card or "")


def test_the_browser_has_nothing_to_complain_about(card: Path) -> None:
    """No error, no warning, no refused request on the console, and the verdict is on the page."""
    finished = browse(card, "--dump-dom")
    assert complaints(finished) == []
    assert "Version 4 is the new champion" in finished.stdout


def test_a_page_that_reaches_outside_would_be_noticed(card: Path) -> None:
    """The test above can fail: a card with a picture from elsewhere puts an error on the console."""
    spoiled = card.with_name("spoiled.html")
    spoiled.write_text(card.read_text().replace("<h1>", '<img src="http://127.0.0.1:9/x.png"><h1>'))
    assert complaints(browse(spoiled, "--dump-dom"))


def test_light_is_light_and_dark_is_dark(card: Path, tmp_path: Path) -> None:
    """The card follows the reader's preference, pictures included."""
    brightness = {}
    for name, scheme in SCHEMES.items():
        shot = tmp_path / f"{name}.png"
        browse(
            card, f"--blink-settings=preferredColorScheme={scheme}", "--window-size=1100,4000", f"--screenshot={shot}"
        )
        brightness[name] = ImageStat.Stat(Image.open(shot).convert("L")).mean[0]
    assert brightness["dark"] < 60
    assert brightness["light"] > 200


@pytest.mark.parametrize("width", [320, 360, 768, 1100])
def test_no_page_is_wider_than_its_screen(card: Path, width: int) -> None:
    """On a phone as on a desk: wide tables scroll within themselves, the page does not."""
    frame = card.with_name("frame.html")
    frame.write_text(
        f'<iframe id="f" style="width:{width}px;height:800px;border:0" srcdoc="{html.escape(card.read_text())}">'
        "</iframe>"
        "<script>onload = () => { document.body.dataset.wide = f.contentDocument.documentElement.scrollWidth }</script>"
    )
    found = re.search(r'data-wide="(\d+)"', browse(frame, "--dump-dom").stdout)
    assert found
    assert int(found[1]) <= width
