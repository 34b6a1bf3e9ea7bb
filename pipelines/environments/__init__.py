"""`configs/environments/*.toml`: what differs between the clusters that the one pipeline runs on.

    [server]       where the pipeline server is, and how it is spoken to
    [images]       what stands behind inception-light, inception-cpu and inception-gpu
    [state]        the steps' state folder: a volume, or a folder of each step's own
    [store]        addresses of what lies outside of it: shared state, MLflow, ledgers, checkpoints, artifacts
    [run]          service account, user, labels, how long a finished run stays
    [steps.train]  processor, memory, GPU, nodes, time and retries of a step
    [variables]    environment variables of all steps
    [[secrets]]    Kubernetes secrets as variables or as files

Nothing secret is ever written here. A secret is named: the steps are given it by the cluster, and whoever calls the
server has it in a variable or a file.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from pipelines.environments.images import IMAGES, Images
from pipelines.environments.names import Variable
from pipelines.environments.places import Run, StateVolume, Store
from pipelines.environments.pods import twice
from pipelines.environments.server import Server
from pipelines.environments.steps import STEPS, Secret, Steps
from trainer.config_errors import explain
from trainer.errors import RecipeError, has_credentials, is_secret, nearest
from trainer.sections.base import Section

__all__ = ["FOLDER", "IMAGES", "Environment", "digests_of", "image", "load"]

FOLDER = Path("configs") / "environments"


class Environment(Section):
    """One file."""

    name: str
    """The file's name without its ending."""
    server: Server
    images: Images = Images()
    state: StateVolume = StateVolume()
    store: Store = Store()
    run: Run = Run()
    steps: Steps = Steps()
    variables: dict[Variable, str] = Field(default={})
    """Environment variables of all steps. Nothing secret: everybody may read the pipeline."""
    secrets: Annotated[tuple[Secret, ...], Field(strict=False)] = ()

    @field_validator("variables")
    @classmethod
    def _nothing_secret(cls, variables: dict[str, str]) -> dict[str, str]:
        for name, value in variables.items():
            if is_secret(name) or has_credentials(value):
                raise ValueError(
                    f"{name} looks like a secret, and everybody may read this file and the pipeline. Put it into a "
                    "Kubernetes secret, and name that under [[secrets]]."
                )
        return variables

    @model_validator(mode="after")
    def _has_a_state_that_all_share(self) -> Self:
        if self.state.claim is None and self.store.state is None:
            raise ValueError(
                "steps and runs share a state: name a volume, [state] claim, or an object store, [store] state."
            )
        if self.store.state is not None and self.store.mlflow is None and not self.store.mlflow_plugin:
            raise ValueError("[store] state needs [store] mlflow: an MLflow of the state folder's own is not shared.")
        return self

    @model_validator(mode="after")
    def _gives_nothing_twice(self) -> Self:
        for step in STEPS:
            found = twice(self, step)
            if found is not None:
                raise ValueError(f"the step {step!r} would have {found} twice.")
        return self

    @property
    def addresses(self) -> dict[str, str]:
        """Environment variables that the steps find things by."""
        known = {
            "INCEPTION_LEDGERS": self.store.ledgers,
            "INCEPTION_STORE": self.store.state,
            "MLFLOW_TRACKING_URI": None if self.store.mlflow_plugin else self.store.mlflow,
        }
        return {name: value for name, value in known.items() if value is not None}

    @property
    def step_variables(self) -> dict[str, str]:
        """Environment variables of every step, sorted by name."""
        return dict(sorted((self.addresses | self.variables).items()))


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
    return environment.model_copy(update={"images": environment.images.pushed(file)})


def digests_of(name: str) -> Path:
    """Where an environment has its file of digests. Errors: RecipeError (it names none)."""
    environment = load(name, pushed=False)
    if environment.images.digests is None:
        raise RecipeError(
            f"The environment {environment.name!r} names no file for the digests of its images.",
            f'Write [images] digests = "{environment.name}.images.json" into {_file(name)}, or name a file with -o.',
        )
    return _file(name).parent / environment.images.digests


def image(environment: Environment, kind: str, allow_tags: bool = False) -> str:
    """The address of one image. Errors: RecipeError (there is none, or it has no digest and tags are not allowed)."""
    return environment.images.address(kind, environment.name, allow_tags)


def _file(name: str) -> Path:
    return Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
