"""The tables of `inception schedule list` and `history`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

_STYLES = {"promoted": "green", "done": "green", "skipped": "cyan", "failed": "red", "interrupted": "red"}


def draw_list(rows: list[dict[str, Any]]) -> None:
    """The schedules; below them what runs and what will fail."""
    table = Table("schedule", "where", "when", "next", "last tick (UTC)", box=None, header_style="bold", pad_edge=False)
    for row in rows:
        last = row["last"]
        ended = f"{_utc(last['ended'])} {last['result']}" if last else "never"
        table.add_row(Text(row["name"]), row["environment"] or "here", row["when"], _next(row), ended)
    Console().print(table)
    for row in rows:
        if row.get("running"):
            click.echo(f"{row['name']}: a tick runs since {_utc(row['running'])} UTC")
        if row.get("problem"):
            click.echo(row["problem"], err=True)


def draw_history(found: list[dict[str, Any]]) -> None:
    """The ticks, in the order in which they are given."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("ended (UTC)", "schedule", "result", "version"):
        table.add_column(column, no_wrap=True)
    table.add_column("reason")
    for tick in found:
        result = Text(tick["result"], _STYLES.get(tick["result"], "yellow"))
        reason = _first(tick["reason"])
        table.add_row(_utc(tick["ended"]), Text(tick["schedule"]), result, tick.get("version") or "", Text(reason))
    Console().print(table)


def _first(reason: str) -> str:
    """Its first line; with the next one where that announces it ("… has 2 problems:")."""
    first, *rest = reason.splitlines() or [""]
    return f"{first} {rest[0].strip()}" if first.endswith(":") and rest else first


def _utc(moment: str) -> str:
    return f"{datetime.fromisoformat(moment).astimezone(UTC):%Y-%m-%d %H:%M}"


def _next(row: dict[str, Any]) -> str:
    """On the clock of its schedule; why there is none."""
    if row["next"] is None:
        return str(row["status"])
    due = datetime.fromisoformat(row["next"]).astimezone(ZoneInfo(row["time_zone"]))
    return f"{'due since ' * (due < datetime.now(UTC))}{due:%Y-%m-%d %H:%M:%S %Z}"
