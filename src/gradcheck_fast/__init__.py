"""Tells whether every number of a hand-written gradient is right, and which are wrong."""

from .callbacks import callback, get_include
from .check import gradcheck
from .compare import ArrayResult, Entry, relative_error
from .config import show_config
from .costs import L2, AbsoluteError, BinaryCrossEntropy, CrossEntropy, Huber, SquaredError
from .layers import Dense
from .network import Network
from .numerical import numerical_gradient
from .plots import plot_step_sweep
from .recurrent import GRU, LSTM, RNN
from .report import GradientError, Report

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
    "Network",
    "Report",
    "SquaredError",
    "callback",
    "get_include",
    "gradcheck",
    "numerical_gradient",
    "plot_step_sweep",
    "relative_error",
    "show_config",
]
