"""What can be seen of a training while it goes on: on the terminal, in MLflow and in TensorBoard's files."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

import psutil

from trainer.card.numbers import duration
from trainer.events import emit
from trainer.metric_stream import MetricStream
from trainer.record import Epoch

if TYPE_CHECKING:
    from trainer.training.boards import Boards
    from trainer.training.observer import Look

LOG_EVERY_SECONDS = 5.0
"""Figures within an epoch reach MLflow and TensorBoard at this pace."""
SAY_EVERY_SECONDS = 60.0
"""Where an epoch takes long, a log gets a line of progress this often."""


class LiveView:
    """The observer of a fitting, or of several one after the other.

    Args:
        stream: figures within an epoch go there as `step/…`, by optimiser step; those of an epoch by their plain names,
            by epoch; the second network's with `member_2/` before them, and so on.
        boards: TensorBoard's files, where they are asked for.
        members: networks to be trained in all.
    """

    def __init__(self, stream: MetricStream, boards: Boards | None = None, members: int = 1) -> None:
        self._stream = stream
        self._boards = boards
        self._members = members
        self._process = psutil.Process()
        self._logged = float("-inf")
        self._logged_step = (0, 0)
        self._said = time.monotonic()
        self._epochs: set[tuple[int, int]] = set()
        self._begun = (0, 0.0)
        """Step and time of a network's first look in this sitting."""
        self._last = (0, 0)
        """Member and step of the last look."""
        self._step_seconds: float | None = None

    def resumed(self, epochs: Iterable[Epoch]) -> None:
        """Epochs of earlier sittings: what of them never arrived is logged now."""
        for epoch in epochs:
            if (epoch.member, epoch.epoch) not in self._epochs:
                self._log_epoch(epoch)

    def looked(self, look: Look) -> None:
        """A moment within an epoch."""
        now = time.monotonic()
        if now - self._logged >= LOG_EVERY_SECONDS:
            self._log_look(look)
        line = ""
        if now - self._said >= SAY_EVERY_SECONDS:
            self._said = now
            line = "  ".join([self._place(look), _averages(look), self._pace(look)])
        self._progress(look, line)

    def ended(self, epoch: Epoch, look: Look) -> None:
        """The end of an epoch."""
        self._said = time.monotonic()
        self._log_look(look)
        self._log_epoch(epoch)
        self._progress(look)
        validation = f"validation {epoch.validation_loss:.4f} {epoch.validation_accuracy:.4f}"
        emit(
            "epoch",
            "  ".join([self._place(look), _averages(look), validation, self._pace(look)]),
            epochs=look.epochs,
            members=self._members,
            **epoch.model_dump(),
        )

    def _log_look(self, look: Look) -> None:
        self._logged = time.monotonic()
        if self._logged_step == (look.member, look.step):
            return
        self._logged_step = look.member, look.step
        figures = {
            "loss": look.loss,
            "accuracy": look.accuracy,
            "learning_rate": look.learning_rate,
            "images_per_second": look.images_per_second,
            "input_wait": look.input_wait,
            "memory_megabytes": self._process.memory_info().rss / 1e6,
        }
        self._log(look.member, "step/", figures, look.step)

    def _log_epoch(self, epoch: Epoch) -> None:
        self._epochs.add((epoch.member, epoch.epoch))
        figures = epoch.model_dump(exclude={"epoch", "phase", "member"}, exclude_none=True)
        self._log(epoch.member, "", figures, epoch.epoch)

    def _log(self, member: int, group: str, figures: dict[str, float], step: int) -> None:
        prefix = f"member_{member}/" if member > 1 else ""
        self._stream.log({f"{prefix}{group}{name}": value for name, value in figures.items()}, step)
        if self._boards is not None:
            self._boards.log(member, {f"{group or 'epoch/'}{name}": value for name, value in figures.items()}, step)

    def _progress(self, look: Look, line: str = "") -> None:
        emit(
            "progress",
            line,
            step="train",
            done=(look.member - 1) * look.total + look.step,
            total=self._members * look.total,
            unit="steps",
            member=look.member,
            members=self._members,
            epoch=look.epoch,
            epochs=look.epochs,
            loss=look.loss,
            accuracy=look.accuracy,
            images_per_second=look.images_per_second,
            input_wait=look.input_wait,
            seconds_left=self._seconds_left(look),
        )

    def _seconds_left(self, look: Look) -> float:
        """Of this network and of those after it.

        Measured from the first look on, which comes after the step was compiled; validation and checkpoints are in it.
        """
        now = time.monotonic()
        member, last = self._last
        self._last = look.member, look.step
        if look.member != member or look.step < last:
            self._begun = look.step, now
        step, then = self._begun
        if look.step > step:
            self._step_seconds = (now - then) / (look.step - step)
        if self._step_seconds is None:
            return look.seconds_left
        return (look.total - look.step + (self._members - look.member) * look.total) * self._step_seconds

    def _place(self, look: Look) -> str:
        member = f"member {look.member}/{self._members}  " if self._members > 1 else ""
        return f"{member}epoch {look.epoch}/{look.epochs}"

    def _pace(self, look: Look) -> str:
        return (
            f"{look.images_per_second:,.0f} images/s  input {100 * look.input_wait:.0f} %  "
            f"{duration(self._seconds_left(look))} left"
        )


def _averages(look: Look) -> str:
    return f"loss {look.loss:.4f}  accuracy {look.accuracy:.4f}"
