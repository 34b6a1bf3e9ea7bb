"""The run card and the index page in a real browser: headless Chromium."""

from __future__ import annotations

import html
import importlib.util
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from PIL import Image, ImageStat

from trainer import report
from trainer.index import page as index
from trainer.state import State

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SCHEMES = {"dark": "0", "light": "1"}
WIDTHS = (320, 380, 768, 1000, 1100)
ITS_OWN = ("google.com", "googleapis.com", "gvt1.com", "gstatic.com")
"""Where the browser itself wants to go, whatever the page."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (Debian: apt-get install chromium)"),
]


class Visit:
    """One page opened once.

    Attributes:
        document: the page as the browser made it.
        complaints: lines of its console.
        requests: addresses it asked the network for.
    """

    def __init__(self, page: Path, *options: str, scheme: str = "light") -> None:
        profile = page.parent / f"{page.stem}.profile"
        shutil.rmtree(profile, ignore_errors=True)
        profile.mkdir()
        finished = subprocess.run(
            [
                str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
                "--host-resolver-rules=MAP * ~NOTFOUND", f"--log-net-log={profile / 'net.json'}",
                "--enable-logging=stderr", "--virtual-time-budget=3000", f"--user-data-dir={profile}",
                f"--blink-settings=preferredColorScheme={SCHEMES[scheme]}",
                *(options or ("--dump-dom",)), page.as_uri(),
            ],
            capture_output=True, text=True, timeout=120, check=True,
        )  # fmt: skip
        self.document = finished.stdout
        self.complaints = [line for line in finished.stderr.splitlines() if "CONSOLE" in line]
        asked = re.findall(r'"url":"(https?://[^"]+)"', (profile / "net.json").read_text())
        self.requests = [url for url in asked if not (urlsplit(url).hostname or "").endswith(ITS_OWN)]


@pytest.fixture(scope="module")
def pages(build_record, tmp_path_factory) -> dict[str, Path]:
    """A card of every kind, and an index."""
    names = ("<script>alert(1)</script>", "a very long class name that goes on and on" * 3, "cat", "dog")
    rejected = [("a/" * 60 + "picture.jpg", "truncated")]
    kinds: dict[str, dict[str, Any]] = {
        "promoted": {"champion_skill": 1.5, "skill": 4.0, "evidence": True, "classes": names, "rejected": rejected},
        "changed": {"champion_skill": 1.5, "skill": 4.0, "evidence": True, "classes": names, "new_class": True},
        "first": {"skill": 4.0, "classes": [f"class {i}" for i in range(130)], "examples": 260},
        "failed": {"until": "prepare"},
    }
    found = {}
    for kind, options in kinds.items():
        made = build_record(State.open(tmp_path_factory.mktemp(kind)), **options)
        status = "FAILED" if kind == "failed" else "SUCCEEDED"
        found[kind] = Path(report.report(made.state, made.tick, status).card or "")
    state = State.open(tmp_path_factory.mktemp("index"))
    _histories().fill(_histories().History(state))
    index.refresh(state)
    return found | {"index": state.index}


def _histories() -> Any:
    path = Path(__file__).parents[1] / "index" / "conftest.py"
    spec = importlib.util.spec_from_file_location("histories", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("promoted", "Version 4 is the new champion"),
        ("changed", "The classes have changed"),
        ("failed", "What happened"),
        ("index", "5 changes of hands"),
    ],
)
def test_the_browser_has_nothing_to_complain_about(pages: dict[str, Path], kind: str, words: str) -> None:
    """No error or warning on the console, no request to the network, and the page says what it is to say."""
    visit = Visit(pages[kind])
    assert visit.complaints == []
    assert visit.requests == []
    assert words in visit.document


def test_a_page_that_reaches_outside_would_be_noticed(pages: dict[str, Path]) -> None:
    """The test above can fail: the card's policy refuses a picture from elsewhere, without it a request is made."""
    spoiled = pages["failed"].with_name("spoiled.html")
    text = pages["failed"].read_text().replace("<h1>", '<img src="http://127.0.0.1:9/x.png"><h1>')
    spoiled.write_text(text)
    visit = Visit(spoiled)
    assert any("Content Security Policy" in line for line in visit.complaints)
    assert visit.requests == []
    spoiled.write_text(re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text))
    assert set(Visit(spoiled).requests) == {"http://127.0.0.1:9/x.png"}


def test_light_is_light_and_dark_is_dark(pages: dict[str, Path], tmp_path: Path) -> None:
    """The card follows the reader's preference, pictures included."""
    brightness = {}
    for scheme in SCHEMES:
        shot = tmp_path / f"{scheme}.png"
        Visit(pages["promoted"], "--window-size=1100,4000", f"--screenshot={shot}", scheme=scheme)
        brightness[scheme] = ImageStat.Stat(Image.open(shot).convert("L")).mean[0]
    assert brightness["dark"] < 60
    assert brightness["light"] > 200


MEASURE = """
const parts = colour => (colour.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number);
const luminance = rgb => rgb.slice(0, 3).map(c => c / 255)
  .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
  .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
const ground = (element, view) => {
  for (let e = element; e; e = e.parentElement) {
    const colour = parts(view.getComputedStyle(e).backgroundColor);
    if (colour.length < 4 || colour[3] > 0.99) return colour;
  }
  return [255, 255, 255];
};
onload = () => {
  const found = [];
  for (const frame of document.querySelectorAll("iframe")) {
    const page = frame.contentDocument, view = frame.contentWindow, pale = new Set();
    for (const element of page.querySelectorAll("body *")) {
      const own = [...element.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
      if (!own || !element.getClientRects().length) continue;
      const [one, other] = [parts(view.getComputedStyle(element).color), ground(element, view)].map(luminance);
      const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
      if (contrast < 4.5) pale.add(`${element.tagName}.${element.className}: ${contrast.toFixed(2)}`);
    }
    const sideways = [...page.querySelectorAll(".wide:has(> .runs)")].filter(e => e.scrollWidth > e.clientWidth).length;
    const wide = page.documentElement.scrollWidth;
    found.push({name: frame.name, width: frame.clientWidth, wide, sideways, pale: [...pale]});
  }
  document.body.textContent = JSON.stringify(found);
};
"""


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_page_fits_its_screen_and_can_be_read(pages: dict[str, Path], tmp_path: Path, scheme: str) -> None:
    """On a phone as on a desk: wide tables scroll within themselves; the page, and the index's list of runs, do not.

    And every text stands out from its ground by 4.5 to 1 (WCAG 2.1, 1.4.3), in light and in dark.
    """
    frames = [
        f'<iframe name="{kind}" style="width:{width}px;height:800px;border:0" srcdoc="{html.escape(path.read_text())}">'
        "</iframe>"
        for kind, path in pages.items()
        for width in WIDTHS
    ]
    frame = tmp_path / "frame.html"
    frame.write_text(f'<meta charset="utf-8"><script>{MEASURE}</script>{"".join(frames)}')
    visit = Visit(frame, scheme=scheme)
    body = re.search(r"<body>(\[.*\])</body>", visit.document, re.DOTALL)
    assert body
    measured = json.loads(html.unescape(body[1]))
    assert len(measured) == len(pages) * len(WIDTHS)
    assert [one for one in measured if one["wide"] > one["width"]] == []
    assert [one for one in measured if one["sideways"] and one["width"] > 320] == []
    assert [one for one in measured if one["pale"]] == []
    assert visit.complaints == []


def test_a_card_is_printed_in_light(pages: dict[str, Path], tmp_path: Path) -> None:
    """To several pages, and to the very same ones whatever the reader prefers on the screen."""
    printed = {}
    for scheme in SCHEMES:
        paper = tmp_path / f"{scheme}.pdf"
        visit = Visit(pages["promoted"], f"--print-to-pdf={paper}", "--no-pdf-header-footer", scheme=scheme)
        assert visit.complaints == []
        content = paper.read_bytes()
        assert content.startswith(b"%PDF")
        assert len(re.findall(rb"/Type\s*/Page\b", content)) > 2
        # Dates and identifiers differ from print to print; pictures and texts of another colour have other lengths.
        printed[scheme] = re.findall(rb"/Length (\d+)", content)
    assert printed["dark"] == printed["light"]
