"""Draws a tuning's events: live rows for the trials under way on a terminal, plain lines elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

_BAR = 24
_STYLES = {"done": "green", "pruned": "yellow", "refused": "magenta", "failed": "red"}


class Trials:
    """Shows events on a console; use as a context manager and pass `show` as the listener."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._drawn = console.is_terminal
        self._running: dict[int, str] = {}
        self._ended = 0
        self._total = 0
        self._preparing = ""
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

    def show(self, event: dict[str, Any]) -> None:
        """Take in one event (see `trainer.events.emit`)."""
        style = ""
        match event["kind"]:
            case "study":
                self._ended, self._total, self._preparing = event["done"], event["total"], ""
            case "progress" if "number" in event:
                self._running[event["number"]] = _in_words(event)
            case "progress":
                total = f" of {event['total']:,}" if event["total"] else ""
                self._preparing = f"{event['step']}: {event['done']:,}{total} {event['unit']}"
            case "trial" if event["outcome"] == "running":
                self._running[event["number"]] = "…"
            case "trial":
                self._running.pop(event["number"], None)
                self._ended += 1
                style = _STYLES[event["outcome"]]
        if event["line"]:
            self._console.print(Text(event["line"], style), soft_wrap=True)

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 1))
        if self._preparing:
            table.add_row(Text("▸", "cyan"), Text(self._preparing), "")
        for number, words in sorted(self._running.items()):
            table.add_row(Text("▸", "cyan"), Text(f"trial {number}", "cyan"), Text(words))
        if self._total:
            table.add_row(
                "", Text("trials", "dim"), Text(f"{_bar(self._ended, self._total)} {self._ended}/{self._total}")
            )
        return table


def _bar(done: int, total: int) -> str:
    filled = round(_BAR * min(done, total) / total)
    return "━" * filled + "─" * (_BAR - filled)


def _in_words(event: dict[str, Any]) -> str:
    minutes, seconds = divmod(int(event["seconds_left"]), 60)
    return (
        f"{_bar(event['done'], event['total'])} epoch {event['epoch']}/{event['epochs']}  loss {event['loss']:.4f}  "
        f"accuracy {event['accuracy']:.4f}  {event['images_per_second']:,.0f} images/s  {minutes}:{seconds:02d} left"
    )
