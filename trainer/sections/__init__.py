"""The sections of a recipe, as frozen models that hold every default. `trainer.config` puts them together."""

from trainer.sections.augment import Augment, Color, Crop, Erase, RandAugment
from trainer.sections.base import Section
from trainer.sections.data import SOURCE_KINDS, Data
from trainer.sections.decision import Evaluate, Gate, Registry, Resources
from trainer.sections.model import Crops, Model, ModuleWidths, Views
from trainer.sections.optimizers import AdamW, Optimizer, RmsProp, Sgd
from trainer.sections.schedules import Constant, Cosine, Exponential, InverseTime, OneCycle, Schedule, Step
from trainer.sections.train import Divergence, EarlyStopping, Ema, Train, Transfer

__all__ = [
    "SOURCE_KINDS",
    "AdamW",
    "Augment",
    "Color",
    "Constant",
    "Cosine",
    "Crop",
    "Crops",
    "Data",
    "Divergence",
    "EarlyStopping",
    "Ema",
    "Erase",
    "Evaluate",
    "Exponential",
    "Gate",
    "InverseTime",
    "Model",
    "ModuleWidths",
    "OneCycle",
    "Optimizer",
    "RandAugment",
    "Registry",
    "Resources",
    "RmsProp",
    "Schedule",
    "Section",
    "Sgd",
    "Step",
    "Train",
    "Transfer",
    "Views",
]
