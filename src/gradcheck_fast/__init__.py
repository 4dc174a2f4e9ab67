"""Tells whether every number of a hand-written gradient is right, and which are wrong."""

from importlib import import_module
from typing import TYPE_CHECKING

from .callbacks import callback, get_include
from .check import gradcheck
from .compare import relative_error
from .config import show_config
from .costs import L2, AbsoluteError, BinaryCrossEntropy, CrossEntropy, Huber, SquaredError
from .layers import Dense
from .network import Network
from .numerical import numerical_gradient
from .plots import plot_step_sweep
from .products import check_jvp, check_vjp
from .progress import LongRunWarning
from .recurrent import GRU, LSTM, RNN
from .report import GradientError, Report
from .results import ArrayResult, Entry

if TYPE_CHECKING:
    from types import ModuleType

    from . import jax as jax
    from . import sklearn as sklearn
    from . import torch as torch

__version__ = "0.1.0"

__all__ = [
    "GRU",
    "L2",
    "LSTM",
    "RNN",
    "AbsoluteError",
    "ArrayResult",
    "BinaryCrossEntropy",
    "CrossEntropy",
    "Dense",
    "Entry",
    "GradientError",
    "Huber",
    "LongRunWarning",
    "Network",
    "Report",
    "SquaredError",
    "callback",
    "check_jvp",
    "check_vjp",
    "get_include",
    "gradcheck",
    "numerical_gradient",
    "plot_step_sweep",
    "relative_error",
    "show_config",
]

_ADAPTERS = ("jax", "sklearn", "torch")


def __getattr__(name: str) -> "ModuleType":
    """The adapters, each imported when it is first asked for: they need what need not be installed."""
    if name not in _ADAPTERS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return import_module(f".{name}", __name__)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        # no ImportError: hasattr() asks, too
        raise AttributeError(f'gf.{name} needs {name}: pip install "gradcheck_fast[{name}]"') from None
