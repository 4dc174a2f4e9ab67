"""Tells whether every number of a hand-written gradient is right, and which are wrong."""

from importlib import import_module
from typing import TYPE_CHECKING

from gradcheck_fast._version import __version__ as __version__
from gradcheck_fast.checks.as_problem import trace
from gradcheck_fast.checks.gradcheck import gradcheck
from gradcheck_fast.checks.jacobian_products import check_jvp, check_vjp
from gradcheck_fast.checks.layers.check_layer import check_layer
from gradcheck_fast.checks.layers.training_step import check_training_step
from gradcheck_fast.checks.numerical_gradient import numerical_gradient
from gradcheck_fast.checks.step_sweep import plot_step_sweep
from gradcheck_fast.comparison.compare import relative_error
from gradcheck_fast.comparison.results import ArrayResult, Entry
from gradcheck_fast.frontends.network.costs import (
    L2,
    AbsoluteError,
    BinaryCrossEntropy,
    CrossEntropy,
    Huber,
    SquaredError,
)
from gradcheck_fast.frontends.network.layers import Dense
from gradcheck_fast.frontends.network.network import Network
from gradcheck_fast.frontends.network.recurrent import GRU, LSTM, RNN
from gradcheck_fast.losses.compiled_loss import callback, get_include
from gradcheck_fast.report.report import GradientError, Report
from gradcheck_fast.running.config import show_config
from gradcheck_fast.running.progress import LongRunWarning

if TYPE_CHECKING:
    from types import ModuleType

    from gradcheck_fast import jax as jax
    from gradcheck_fast import sklearn as sklearn
    from gradcheck_fast import torch as torch

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
    "check_layer",
    "check_training_step",
    "check_vjp",
    "get_include",
    "gradcheck",
    "numerical_gradient",
    "plot_step_sweep",
    "relative_error",
    "show_config",
    "trace",
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
