"""The run record: one JSON document per step in one folder per run key, and one folder per tick (pipeline run).

The exit handler is handed no outputs, so every step leaves its part here and `report` reads it. A step that finds
its own document complete has nothing left to do: that is how a killed run goes on where it stopped.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from trainer.errors import StateError
from trainer.gate import Verdict
from trainer.scorecard import Interval, Scorecard
from trainer.state import reported, write_atomically

Decision = Literal["work", "skip"]
Result = Literal["promoted", "kept", "undecided", "skipped", "failed"]


class Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Checked(Document):
    """What `check` found: the run key and its parts, and whether there is work."""

    decision: Decision
    reason: str
    run_key: str
    fingerprint: str
    config_digest: str
    code_digest: str
    recipe: str
    """Canonical JSON, overrides applied."""
    source: dict[str, str | int]
    """The source in words: address, number of files, bytes."""
    at: datetime


class Rejected(Document):
    path: str
    reason: str


class NearDuplicate(Document):
    """A training and a test image whose perceptual hashes are close."""

    train: str
    """Its path in the source."""
    test: str
    distance: int
    """Bits in which the hashes differ."""


class Prepared(Document):
    """What `prepare` made: a summary of the prepared dataset's manifest."""

    fingerprint: str
    path: str
    classes: list[str]
    counts: dict[str, list[int]]
    """Examples per split (`train`, `validation`, `test`) and class."""
    identity_digests: dict[str, str]
    """Digest over the sorted example identities of each split."""
    rejected: list[Rejected]
    """The first hundred images that were left out."""
    rejected_total: int
    near_duplicates: list[NearDuplicate] = []
    """The first hundred pairs of a training and a test image that look alike."""
    near_duplicates_total: int = 0
    seconds: float


class Epoch(Document):
    epoch: int
    phase: str = "training"
    """`training`; `head` and `fine-tuning` with transfer learning."""
    member: int = 1
    """Which network of an ensemble."""
    loss: float
    accuracy: float
    validation_loss: float
    validation_accuracy: float
    learning_rate: float
    images_per_second: float
    seconds: float
    input_wait: float | None = None
    """Share of the time in which the step waited for its images."""


class Trained(Document):
    """What `train` made: the logged model and how it came about."""

    model_uri: str
    mlflow_run_id: str
    experiment_id: str
    variant: str
    image_size: int
    parameters: int
    """Parameters of the exported network (auxiliary classifiers left out)."""
    training_parameters: int
    epochs: list[Epoch]
    """Of all members, one after the other."""
    members: int = 1
    """Networks in the exported model."""
    chosen_epochs: list[int] = []
    """The epoch whose weights each member has; the last one unless `train.early_stopping` says otherwise."""
    restarts: list[str] = []
    """Every return to a checkpoint after the training diverged, in words."""
    init: str | None = None
    """The weights it began with, where those were not random."""
    precision: str
    compilation: str = "graph"
    """How the step was compiled: `graph` or `xla`."""
    device: str
    seconds: float
    """Training time of all members; validation and checkpoints left out."""
    resumed_from_epoch: int | None
    versions: dict[str, str]
    lineage: dict[str, str] = {}
    """`git_commit` and `image_digest` of the step that trained, as far as they were known."""

    def kept_epochs(self) -> list[Epoch]:
        """The epoch whose weights were exported, of each member."""
        chosen = self.chosen_epochs or [self.epochs[-1].epoch]
        return [one for one in self.epochs if one.epoch == chosen[one.member - 1]]


class Latency(Document):
    """How long the two models take for one batch, measured in alternation in one process."""

    batch: int
    """Images in the batch."""
    rounds: int
    challenger_ms: float
    """Median over the rounds, as the next."""
    champion_ms: float | None = None
    ratio: float | None = None
    """Challenger to champion: the median of the rounds' own ratios."""
    ratio_low: float | None = None
    """Quartiles of the rounds' ratios."""
    ratio_high: float | None = None


class Golden(Document):
    """How far a registered model's answers to its golden images are from those of the model that was trained."""

    images: int
    difference: float
    """The largest of any probability."""
    tolerance: float


class ClassChange(Document):
    """Challenger and champion know different classes: how, and what both score on what both know."""

    added: list[str]
    removed: list[str]
    renamed: dict[str, str]
    """The champion's name of a class to the challenger's, as the recipe declares them."""
    common: list[str]
    challenger: Scorecard
    champion: Scorecard


class ChangedSide(Document):
    """A test example on which exactly one of the two models is right."""

    file: str
    """Picture in the record's folder."""
    truth: str
    challenger: str
    """What it answered."""
    champion: str
    newly_right: bool
    source: str


class Evaluated(Document):
    """What `evaluate` measured on the frozen test examples."""

    challenger: Scorecard
    champion: Scorecard | None
    """On the same examples; None too where the two cannot be compared, or know different classes."""
    champion_version: str | None
    worst_mistakes: list[str]
    """Picture files in the record's folder, worst first."""
    incomparable: str | None = None
    """Why there is a champion and no comparison with it."""
    class_change: ClassChange | None = None
    latency: list[Latency] = []
    golden: Golden | None = None
    """Of the challenger."""
    shared_with_training: int | None = None
    """Test examples that the champion was trained or validated on; None where that is not recorded, or nobody is."""
    changed_sides: list[ChangedSide] = []
    """Those with pictures; newly wrong first."""
    newly_right: int = 0
    newly_wrong: int = 0


class Registered(Document):
    name: str
    version: str
    created: bool
    """False: this run key had a version already."""
    lineage: dict[str, str] = {}
    """What the version's tags say beside the run key's parts: `git_commit`, `image_digest`, `kfp_run_id`, …"""


class Promoted(Document):
    result: Literal["promoted", "kept", "undecided"]
    verdict: Verdict
    version: str
    champion_before: str | None
    champion_after: str | None
    ledger_entry: int | None
    at: datetime


class Failure(Document):
    step: str
    message: str
    remedy: str
    traceback: str
    at: datetime
    hopeless: bool = False
    """Whether a retry of the step fails at once: trying again would end the same way."""


class Outcome(Document):
    """How one tick ended: what the command line prints and `--json` gives, and what the index page lists."""

    tick: str
    result: Result
    reason: str
    model: str | None
    version: str | None
    accuracy: float | None
    champion: str | None
    run_key: str | None
    fingerprint: str | None
    mlflow_run_id: str | None
    card: str | None
    """Path of the run card (HTML)."""
    failed_step: str | None
    remedy: str
    seconds: float | None
    accuracy_interval: Interval | None = None
    change: float | None = None
    """Of the accuracy, against the champion's on the same examples."""
    at: datetime | None = None
    """None in outcomes of older versions."""


D = TypeVar("D", bound=Document)

NAMES: dict[type[Document], str] = {
    Checked: "check",
    Prepared: "prepare",
    Trained: "train",
    Evaluated: "evaluate",
    Registered: "register",
    Promoted: "promote",
    Failure: "failure",
    Outcome: "outcome",
}


def write(folder: Path, document: Document) -> None:
    """Put a document into a record's or a tick's folder. Errors: StateError."""
    write_atomically(folder / f"{NAMES[type(document)]}.json", document.model_dump_json(indent=2) + "\n")


def find(folder: Path, kind: type[D]) -> D | None:
    """A document, or None where the step has not left one (or left one that an older version wrote)."""
    path = folder / f"{NAMES[kind]}.json"
    try:
        with reported(path):
            content = path.read_bytes()
    except StateError:
        if path.exists():
            raise
        return None
    try:
        return kind.model_validate_json(content)
    except ValidationError:
        return None


def read(folder: Path, kind: type[D]) -> D:
    """A document that must be there. Errors: StateError."""
    document = find(folder, kind)
    if document is None:
        raise StateError(
            f"The run record {folder} has no readable {NAMES[kind]}.json.",
            "Run again: the step that writes it will do its work anew.",
        )
    return document


def remove(folder: Path, kind: type[Document]) -> None:
    """Take a document out of its folder, if it is there. Errors: StateError."""
    path = folder / f"{NAMES[kind]}.json"
    with reported(path):
        path.unlink(missing_ok=True)


def now() -> datetime:
    return datetime.now(UTC)


def as_json(document: Document) -> dict[str, object]:
    result: dict[str, object] = json.loads(document.model_dump_json())
    return result
