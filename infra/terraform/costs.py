"""What an installation costs a month: idle, and with trainings, as a table.

    python infra/terraform/costs.py [--prices FILE] [--trainings PER_MONTH]

It needs nothing but Python. Everything it knows is in costs.toml, beside it.
"""

from __future__ import annotations

import argparse
import tomllib
from pathlib import Path
from typing import Any

HOURS = 730
"""Of a month."""
WEEKLY = 52 / 12
"""Trainings a month."""


def idle(known: dict[str, Any], environment: str) -> float:
    """Dollars a month of what stands when nothing trains."""
    stands = known["idle"][environment]
    by_hour = sum(amount * known["prices"]["hour"][what] for what, amount in stands["hour"].items())
    by_month = sum(amount * known["prices"]["month"][what] for what, amount in stands["month"].items())
    return float(HOURS * by_hour + by_month)


def training(known: dict[str, Any], environment: str) -> float:
    """Dollars of one training."""
    return float(sum(hours * known["prices"]["hour"][what] for what, hours in known["training"][environment].items()))


def dollars(exact: float) -> str:
    """Two digits: the prices have no more."""
    return f"{float(f'{exact:.2g}'):,.10g}"


def table(known: dict[str, Any], trainings: float) -> str:
    """Of every environment, in Markdown."""
    rows = [
        (
            f"`{environment}`",
            dollars(idle(known, environment)),
            dollars(training(known, environment)),
            dollars(idle(known, environment) + trainings * training(known, environment)),
        )
        for environment in known["idle"]
    ]
    return "\n".join(
        " | ".join(("", *row, "")).strip()
        for row in [
            ("", "idle, $ a month", "one training, $", f"with {trainings:.2g} trainings, $ a month"),
            ("---",) * 4,
            *rows,
        ]
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="What an installation costs a month.")
    parser.add_argument("--prices", type=Path, default=Path(__file__).with_name("costs.toml"))
    parser.add_argument("--trainings", type=float, default=WEEKLY, help="a month; one a week unless told otherwise")
    given = parser.parse_args()
    print(table(tomllib.loads(given.prices.read_text(encoding="utf-8")), given.trainings))
