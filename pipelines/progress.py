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
_BAR = 24


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
            self._detail[step] = _in_words(event)
        said_elsewhere = kind == "outcome" or (kind == "step" and self._drawn and event["status"] != "failed")
        if event["line"] and not said_elsewhere:
            self._console.print(Text("  " + event["line"] if self._drawn else event["line"]), soft_wrap=True)

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 1))
        for step in STEPS:
            mark, style = _MARKS[self._status[step]]
            table.add_row(Text(mark, style), Text(step, style), Text(self._detail[step]))
        return table


def _in_words(event: dict[str, Any]) -> str:
    done, total = event["done"], event["total"]
    if not total:
        return f"{done:,} {event['unit']}"
    filled = round(_BAR * done / total)
    bar = "━" * filled + "─" * (_BAR - filled)
    if "epoch" not in event:
        return f"{bar} {done:,}/{total:,} {event['unit']}"
    left = int(event["seconds_left"])
    return (
        f"{bar} epoch {event['epoch']}/{event['epochs']}  loss {event['loss']:.4f}  accuracy {event['accuracy']:.4f}  "
        f"{event['images_per_second']:,.0f} images/s  {left // 60}:{left % 60:02d} left"
    )
