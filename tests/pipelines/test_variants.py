"""`inception variants`: what it answers, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.cli import main
from pipelines.commands import variant_facts, variant_tables
from trainer.models import zoo

SMALL = ("--set", "stem=small", "--set", "width=0.25")


class Answer:
    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def ask(capfd: pytest.CaptureFixture[str]) -> Any:
    """The command as it is typed: exit status, standard output and standard error."""

    def run(*arguments: str) -> Answer:
        with pytest.raises(SystemExit) as ended:
            main(["variants", *arguments])
        assert isinstance(ended.value.code, int)
        return Answer(ended.value.code, *capfd.readouterr())

    return run


def test_one_network_is_described_in_words(ask: Any) -> None:
    """What it is, where it was published, what it costs, what can be set; nothing else on either stream."""
    answer = ask("googlenet")
    assert answer.status == 0
    assert answer.err == ""
    for fact in ("arXiv:1409.4842", "224 pixels", "5,983,802 for 10 classes", "10,334,030", "dropout = 0.4"):
        assert fact in answer.out
    assert "stage" not in answer.out


def test_stages_add_up_to_the_total(ask: Any) -> None:
    """Parameters, multiply-adds and activations of all stages make the last row; shares make one."""
    found = ask("googlenet", *SMALL, "--layers", "--json").json
    assert [stage["name"] for stage in found["stages"]][:2] == ["stem", "inception_3a"]
    assert found["stages"][0]["output_shape"] == [16, 16, 48]
    for figure in ("parameters", "multiply_adds", "activation_bytes"):
        assert sum(stage[figure] for stage in found["stages"]) == found["total"][figure]
    for share in ("share_of_parameters", "share_of_multiply_adds", "share_of_activations"):
        assert sum(stage[share] for stage in found["stages"]) == pytest.approx(1)
    assert found["total"]["parameters"] == found["training_parameters"]


def test_the_bottleneck_example_comes_out(ask: Any) -> None:
    """28×28×192 to 32 filters of 5×5: 120.4 M multiply-adds, or 2.4 M + 10.0 M behind a 1×1 of 16."""
    answer = ask("googlenet", "--layers", "--bottleneck")
    [line] = [line for line in answer.out.splitlines() if line.startswith("inception_3a.branch3")]
    for fact in ("28×28×192", "192 → 16 → 32", "5×5", "120.4 M", "2.4 M", "10.0 M", "108.0 M", "89.7%"):
        assert fact in line
    assert any(line.startswith("total") and "10,334,030" in line for line in answer.out.splitlines())


def test_bottlenecks_are_answered_in_json(ask: Any) -> None:
    """To the multiply-add, with the sum of what is saved."""
    found = ask("googlenet", "--bottleneck", "--json").json
    assert found["bottlenecks"][1] == {
        "name": "inception_3a.branch3.2_5x5.conv",
        "grid": [28, 28],
        "kernel": [5, 5],
        "channels": [192, 16, 32],
        "direct": 120_422_400,
        "reduction": 2_408_448,
        "convolution": 10_035_200,
        "saved": 107_978_752,
    }
    assert found["saved"] == sum(one["saved"] for one in found["bottlenecks"])
    assert "stages" not in found


def test_a_network_without_reductions_says_so(ask: Any) -> None:
    """The baseline of plain 3×3 convolutions has none."""
    assert "convnet has no 1×1 convolution before a larger one." in ask("convnet", "--bottleneck").out


def test_options_of_the_network_can_be_set(ask: Any) -> None:
    """Counts, input and the options shown are those of the network that was asked for."""
    plain = ask("inception_v3", "--json").json
    found = ask("inception_v3", *SMALL, "--set", "model.auxiliary=false", "--classes", "7", "--json").json
    assert (found["image_size"], found["width"], found["classes"]) == (32, 0.25, 7)
    assert (found["options"]["stem"], found["options"]["auxiliary"]) == ("small", False)
    assert found["parameters"] == found["training_parameters"] < plain["parameters"] / 10
    assert plain["parameters"] == 21_823_274


@pytest.mark.parametrize("ending", ["png", "SVG"])
def test_the_graph_is_drawn_into_a_file(ask: Any, tmp_path: Path, ending: str) -> None:
    """Whole or not at all; the answer says where it is."""
    file = tmp_path / f"graph.{ending}"
    answer = ask("googlenet", *SMALL, "--plot", str(file), "--json")
    assert answer.json["plot"] == str(file)
    assert file.read_bytes().startswith(b"\x89PNG" if ending == "png" else b"<?xml")
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("arguments", "message", "remedy"),
    [
        (["--layers"], "--layers is about one network.", "Name it"),
        (["--bottleneck"], "--bottleneck is about one network.", "Name it"),
        (["--plot", "x.png"], "--plot is about one network.", "Name it"),
        (["--set", "stem=small"], "--set is about one network.", "Name it"),
        (["--markdown", "--json"], "--json does not go with --markdown.", "Leave out one"),
        (["googlenet", "--markdown"], "--markdown prints the table of all networks.", "Leave out googlenet"),
        (["googelnet"], "There is no variant 'googelnet'.", "Did you mean 'googlenet'?"),
        (["googlenet", "--set", "stem"], "Received the option 'stem'.", "stem=small"),
        (["googlenet", "--set", "stm=small"], "model.stm: unknown key.", "inception variants googlenet"),
        (["googlenet", "--set", "stem=tiny"], "model.stem: received 'tiny'.", "inception variants googlenet"),
        (["googlenet", "--set", "train.epochs=3"], "unknown key", "inception variants googlenet"),
        (["googlenet", "--set", "variant=x"], "Received the options variant=x.", "googlenet already"),
        (["inception_v2", "--set", "auxiliary=true"], "no option 'auxiliary'", "inception variants inception_v2"),
        (["googlenet", "--plot", "x.gif"], "Received the picture's name 'x.gif'.", ".png, .svg, .pdf"),
        (["googlenet", "--plot", "nowhere/x.png"], "which is no folder", "a folder that is there"),
    ],
)
def test_what_makes_no_sense_is_refused(
    ask: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str, remedy: str
) -> None:
    """Wrong use: status 2, what was received and what to do, before any network is built."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(zoo, "build", None)
    answer = ask(*arguments)
    assert answer.status == 2
    assert message in answer.err
    assert remedy in answer.err
    assert list(tmp_path.iterdir()) == []


def test_the_markdown_table_has_a_row_for_each_network() -> None:
    """In all of its tables; an option that a network lacks is a dash."""
    facts = [
        {
            "name": name, "classes": 10, "parameters": 1, "training_parameters": 2, "trainable_parameters": 1,
            "multiply_adds": 3, "image_size": row.image_size, "smallest_image": row.smallest_image,
            "small_stem": row.has_small_stem, "weights": [], "paper": str(row.paper), "note": row.note,
            "options": {option: variant_facts._plain(row.default(option)) for option in row.options},
        }
        for name, row in zoo.VARIANTS.items()
    ]  # fmt: skip
    page = variant_tables.markdown(facts)
    for name in zoo.VARIANTS:
        assert page.count(f"| `{name}` |") == 3
    options_table = page.splitlines()[-len(facts) - 2 :]
    headings, _, _, convnet = ([cell.strip() for cell in line.split("|")] for line in options_table[:4])
    options = dict(zip(headings, convnet, strict=True))
    assert options["variant"] == "`convnet`"
    assert (options["`dropout`"], options["`lrn`"]) == ("0.5", "—")


def test_the_channels_of_the_single_module_can_be_set(ask: Any) -> None:
    """They are shown as the table a recipe has for them, and counted."""
    answer = ask("inception_module", "--set", "module.out_5x5=96")
    assert "module = { reduce_3x3 = 64, out_3x3 = 64, reduce_5x5 = 64, out_5x5 = 96, project = 64 }" in answer.out
    found = ask("inception_module", "--set", "module={out_5x5=96}", "--json").json
    assert found["options"]["module"]["out_5x5"] == 96
    assert f"{found['parameters']:,} for 10 classes" in answer.out


@pytest.mark.slow
def test_all_networks_are_answered_in_json(ask: Any) -> None:
    """The row of each is what asking for it alone gives."""
    found = ask("--json").json["variants"]
    assert [facts["name"] for facts in found] == list(zoo.VARIANTS)
    assert found[2] == ask("googlenet", "--json").json
    assert variant_facts.all_variants(10) == found
