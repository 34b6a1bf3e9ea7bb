"""Draws a run's events: live rows on a terminal, plain lines elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

STEPS = ("check", "prepare", "train", "evaluate", "register", "promote", "report")
_MARKS = {"waiting": ("·", "dim"), "started": ("▸", "cyan"), "done": ("✓", "green"), "failed": ("✗", "red")}
_BARS = (24, 12)
"""Widths of the bar, the wider one where there is room."""
_BESIDE = 12
"""Columns of a row before its detail."""


class Progress:
    """Shows events on a console; use as a context manager and pass `show` as the listener."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status = dict.fromkeys(STEPS, "waiting")
        self._detail = dict.fromkeys(STEPS, "")
        self._drawn = console.is_terminal
        self._live = Live(console=console, get_renderable=self._table, refresh_per_second=8, transient=True)

    def __enter__(self) -> Self:
        if self._drawn:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._drawn:
            self._live.stop()
            self._console.print(self._table())

    def show(self, event: dict[str, Any]) -> None:
        """Take in one event (see `trainer.events.emit`)."""
        kind, step = event["kind"], event.get("step", "")
        if kind == "step":
            self._status[step] = event["status"]
            if event["status"] == "done":
                self._detail[step] = f"{event['seconds']:.1f} s"
            elif event["status"] == "failed":
                self._detail[step] = ""
        elif kind == "progress":
            self._detail[step] = _in_words(event, self._console.width - _BESIDE)
        line = self._line(event)
        if line:
            self._console.print(Text(line), soft_wrap=True)

    def _line(self, event: dict[str, Any]) -> str:
        """What is printed of an event: all its words in a log; on a terminal what no row shows."""
        kind = event["kind"]
        if kind == "outcome":
            return ""
        if not self._drawn:
            return str(event["line"])
        if kind == "progress" or (kind == "step" and event["status"] != "failed"):
            return ""
        return f"  {_curves(event) if kind == 'epoch' else event['line']}" if event["line"] else ""

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 1))
        for step in STEPS:
            mark, style = _MARKS[self._status[step]]
            table.add_row(Text(mark, style), Text(step, style), Text(self._detail[step]))
        return table


def _in_words(event: dict[str, Any], width: int) -> str:
    """Bar and figures, as many of them as `width` columns hold."""
    done, total = event["done"], event["total"]
    if not total:
        return f"{done:,} {event['unit']}"
    if "epoch" not in event:
        return f"{_bar(done / total, _BARS[0])} {done:,}/{total:,} {event['unit']}"
    figures = {
        "bar": _bar(done / total, _BARS[0]),
        "member": _member(event),
        "epoch": f"epoch {event['epoch']}/{event['epochs']}",
        "loss": f"loss {event['loss']:.4f}",
        "accuracy": f"accuracy {event['accuracy']:.4f}",
        "speed": f"{event['images_per_second']:,.0f} images/s",
        "input": f"input {100 * event['input_wait']:.0f} %",
        "left": f"{_clock(event['seconds_left'])} left",
    }
    shorter = {"bar": _bar(done / total, _BARS[1])}
    for less in (shorter, {"loss": ""}, {"bar": ""}, {"accuracy": ""}, {"member": ""}, {"input": ""}, {"speed": ""}):
        if len(_joined(figures)) <= width:
            break
        figures |= less
    return _joined(figures)


def _joined(figures: dict[str, str]) -> str:
    return "  ".join(filter(None, figures.values()))


def _curves(event: dict[str, Any]) -> str:
    """An epoch without what its row shows."""
    figures = [
        _member(event),
        f"epoch {event['epoch']}/{event['epochs']}",
        f"loss {event['loss']:.4f}",
        f"accuracy {event['accuracy']:.4f}",
        f"validation {event['validation_loss']:.4f} {event['validation_accuracy']:.4f}",
    ]
    return "  ".join(filter(None, figures))


def _member(event: dict[str, Any]) -> str:
    return f"member {event['member']}/{event['members']}" if event["members"] > 1 else ""


def _bar(share: float, width: int) -> str:
    filled = round(width * share)
    return "━" * filled + "─" * (width - filled)


def _clock(seconds: float) -> str:
    """`1:35`, `2:05:00`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
