"""Modules of PyTorch as users write them, small enough to be checked in every entry."""

from . import images, science, sequences
from .registry import MODULES, case

__all__ = ["MODULES", "case", "images", "science", "sequences"]
