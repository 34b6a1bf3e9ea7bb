"""`configs/environments/*.toml`: what differs between the clusters that the one pipeline runs on.

    [server]       where the pipeline server is, and how it is spoken to
    [images]       what stands behind inception-light, inception-cpu and inception-gpu
    [state]        the volume that holds the state folder
    [store]        addresses of what lies outside the volume: MLflow, ledgers, checkpoints, artifacts
    [run]          service account, labels, how long a finished run stays
    [steps.train]  processor, memory, GPU, nodes, time and retries of a step
    [variables]    environment variables of all steps
    [[secrets]]    Kubernetes secrets as variables or as files

Nothing secret is ever written here. A secret is named: the steps are given it by the cluster, and whoever calls the
server has it in a variable or a file.
"""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import Field, PositiveFloat, ValidationError, field_validator

from pipelines.environments.server import Server
from pipelines.environments.steps import Secret, Steps
from trainer.config_errors import explain
from trainer.errors import RecipeError, nearest
from trainer.sections.base import Section

FOLDER = Path("configs") / "environments"
IMAGES = ("light", "cpu", "gpu")
_DIGEST = re.compile(r"^[^\s@]+@sha256:[0-9a-f]{64}$")
_SECRET = re.compile(r"PASSWORD|TOKEN|SECRET|ACCESS_KEY|API_KEY")


class Images(Section):
    """The three images. What the file of digests says goes first."""

    light: str | None = None
    """For check, register, promote and report: `registry.example.com/inception-light@sha256:…`."""
    cpu: str | None = None
    """For prepare and evaluate."""
    gpu: str | None = None
    """For train."""
    registry: str | None = None
    """Where `inception images push` puts them: `registry.example.com/vision`."""
    digests: str | None = None
    """JSON file beside this one with the three addresses by digest, as `inception images push` writes it."""
    pull_secrets: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """Kubernetes secrets for the registry."""


class StateVolume(Section):
    """The state folder, which all steps share."""

    claim: str
    """Persistent volume claim that is mounted into every step. Steps may run on several nodes: ReadWriteMany."""
    mount: Annotated[str, Field(pattern="^/")] = "/inception"
    """Where it is mounted: the pipeline's `root`."""
    sub_path: str = ""
    """Folder of the volume; left out: the whole volume."""


class Store(Section):
    """Addresses of what lies outside the state folder; left out: inside it."""

    mlflow: str | None = None
    """MLflow server: `https://mlflow.example.com`."""
    ledgers: str | None = None
    """Promotion ledgers: `gs://bucket/prefix`. Runs of several state folders that promote the same model share them."""
    checkpoints: str | None = None
    """Checkpoints of training under way, where the recipe names no place of its own: `gs://bucket/prefix`."""
    pipeline_root: str | None = None
    """Where Kubeflow puts what steps hand over and the UI draws: `gs://bucket/prefix`; left out: the server's own."""


class Run(Section):
    """What holds for every run."""

    service_account: str | None = None
    """Kubernetes service account of the steps; left out: the server's default."""
    keep_hours: PositiveFloat | None = None
    """How long a finished run's pods stay; left out: until somebody removes them."""
    deadline_hours: PositiveFloat | None = None
    """A run that takes longer is stopped."""
    labels: dict[str, str] = Field(default={})
    """Labels of every pod."""


class Environment(Section):
    """One file."""

    name: str
    """The file's name without its ending."""
    server: Server
    images: Images = Images()
    state: StateVolume
    store: Store = Store()
    run: Run = Run()
    steps: Steps = Steps()
    variables: dict[str, str] = Field(default={})
    """Environment variables of all steps. Nothing secret: everybody may read the pipeline."""
    secrets: Annotated[tuple[Secret, ...], Field(strict=False)] = ()

    @field_validator("variables")
    @classmethod
    def _nothing_secret(cls, variables: dict[str, str]) -> dict[str, str]:
        for name in variables:
            if _SECRET.search(name.upper()):
                raise ValueError(
                    f"{name} looks like a secret, and everybody may read this file and the pipeline. Put it into a "
                    "Kubernetes secret, and name that under [[secrets]]."
                )
        return variables

    @property
    def step_variables(self) -> dict[str, str]:
        """Environment variables of every step, sorted by name."""
        addresses = {"MLFLOW_TRACKING_URI": self.store.mlflow, "INCEPTION_LEDGERS": self.store.ledgers}
        return dict(sorted(({k: v for k, v in addresses.items() if v is not None} | self.variables).items()))


def load(name: str, pushed: bool = True) -> Environment:
    """An environment by its name in configs/environments, or by the path of its file.

    Args:
        name: of the environment, or of its file.
        pushed: read the file of digests; False for who is about to write it.

    Errors: RecipeError (missing, unreadable, invalid).
    """
    file = _file(name)
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        known = [one.stem for one in FOLDER.glob("*.toml")]
        raise RecipeError(f"There is no environment at {str(file)!r}.", nearest(file.stem, known)) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RecipeError(f"The environment {str(file)!r} cannot be read: {error}.", "Mend it.") from None
    if "name" in values:
        raise RecipeError(f"{file} names itself {values['name']!r}.", "Leave the name out: the file's own holds.")
    try:
        environment = Environment.model_validate({"name": file.stem, **values})
    except ValidationError as error:
        message, _ = explain(error, Environment, str(file))
        raise RecipeError(message, "Mend the environment's file.") from None
    if not pushed:
        return environment
    return environment.model_copy(update={"images": _by_digest(environment.images, file)})


def digests_of(name: str) -> Path:
    """Where an environment has its file of digests. Errors: RecipeError (it names none)."""
    environment = load(name, pushed=False)
    if environment.images.digests is None:
        raise RecipeError(
            f"The environment {environment.name!r} names no file for the digests of its images.",
            f'Write [images] digests = "{environment.name}.images.json" into {_file(name)}, or name a file with -o.',
        )
    return _file(name).parent / environment.images.digests


def _file(name: str) -> Path:
    return Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"


def _by_digest(images: Images, file: Path) -> Images:
    """The images, those of the digests' file in place of what they are called otherwise."""
    if images.digests is None:
        return images
    path = file.parent / images.digests
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        known = {name: str(found[name]) for name in IMAGES if name in found}
    except FileNotFoundError:
        raise RecipeError(
            f"{file}: there are no image digests at {images.digests!r}, seen from the file.",
            "Push the images first, with `inception images push`: that writes the file.",
        ) from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, TypeError) as error:
        raise RecipeError(
            f"The image digests {str(path)!r} cannot be read: {error}.", "Push the images again."
        ) from None
    return images.model_copy(update=known)


def image(environment: Environment, kind: str, allow_tags: bool = False) -> str:
    """The address of one image: `light`, `cpu` or `gpu`.

    Errors: RecipeError (there is none, or it has no digest and tags are not allowed).
    """
    address: str | None = getattr(environment.images, kind)
    if address is None:
        raise RecipeError(
            f"The environment {environment.name!r} has no image {kind!r}.",
            f'Name it under [images]: {kind} = "registry/inception-{kind}@sha256:…".',
        )
    if not allow_tags and not _DIGEST.match(address):
        raise RecipeError(
            f"The environment {environment.name!r} names the image {address!r} without a digest: a tag may be moved, "
            "and the server's cache would not see it.",
            "Name it by digest, registry/name@sha256:…, or allow tags with --allow-tags.",
        )
    return address
