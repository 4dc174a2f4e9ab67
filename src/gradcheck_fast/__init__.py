"""Tells whether every number of a hand-written gradient is right, and which are wrong."""

from importlib import import_module
from typing import TYPE_CHECKING

from gradcheck_fast._version import __version__ as __version__
from gradcheck_fast.checks.as_problem import trace
from gradcheck_fast.checks.gradcheck import gradcheck
from gradcheck_fast.checks.jacobian import check_jacobian
from gradcheck_fast.checks.jacobian_products import check_jvp, check_vjp
from gradcheck_fast.checks.layers.check_layer import check_layer
from gradcheck_fast.checks.layers.training_step import check_training_step
from gradcheck_fast.checks.numerical_gradient import numerical_gradient
from gradcheck_fast.checks.second_order.hessian import check_hessian
from gradcheck_fast.checks.second_order.hvp import check_hvp
from gradcheck_fast.checks.second_order.objective import check_objective
from gradcheck_fast.checks.step_sweep import plot_step_sweep
from gradcheck_fast.checks.taylor_test import taylor_test
from gradcheck_fast.comparison.compare import relative_error
from gradcheck_fast.comparison.results import ArrayResult, Entry
from gradcheck_fast.frontends.network.attention import Embedding, MultiHeadAttention
from gradcheck_fast.frontends.network.convolutions import Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d
from gradcheck_fast.frontends.network.costs import (
    L2,
    AbsoluteError,
    BinaryCrossEntropy,
    CrossEntropy,
    Huber,
    SquaredError,
)
from gradcheck_fast.frontends.network.elementwise import GEGLU, GLU, Activation, Dropout, PReLU, SwiGLU
from gradcheck_fast.frontends.network.layers import Dense
from gradcheck_fast.frontends.network.network import Network
from gradcheck_fast.frontends.network.normalisations import BatchNorm, GroupNorm, InstanceNorm, LayerNorm, RMSNorm
from gradcheck_fast.frontends.network.pools import (
    AdaptiveAvgPool1d,
    AdaptiveAvgPool2d,
    AdaptiveAvgPool3d,
    AdaptiveMaxPool1d,
    AdaptiveMaxPool2d,
    AdaptiveMaxPool3d,
    AvgPool1d,
    AvgPool2d,
    AvgPool3d,
    GlobalAvgPool,
    GlobalMaxPool,
    MaxPool1d,
    MaxPool2d,
    MaxPool3d,
)
from gradcheck_fast.frontends.network.recurrent import GRU, LSTM, RNN
from gradcheck_fast.frontends.network.structure import Concatenate, Flatten, Residual, Sequential
from gradcheck_fast.frontends.network.tensor_costs import (
    CTC,
    CosineEmbedding,
    Hinge,
    KLDivergence,
    MultiMargin,
    NegativeLogLikelihood,
    TripletMargin,
)
from gradcheck_fast.frontends.network.tensor_layer import TensorLayer
from gradcheck_fast.losses.compiled_loss import callback, get_include
from gradcheck_fast.report.report import GradientError, Report
from gradcheck_fast.report.taylor import TaylorReport
from gradcheck_fast.running.config import show_config
from gradcheck_fast.running.progress import LongRunWarning

if TYPE_CHECKING:
    from types import ModuleType

    from gradcheck_fast import jax as jax
    from gradcheck_fast import onnx as onnx
    from gradcheck_fast import sklearn as sklearn
    from gradcheck_fast import torch as torch

__all__ = [
    "CTC",
    "GEGLU",
    "GLU",
    "GRU",
    "L2",
    "LSTM",
    "RNN",
    "AbsoluteError",
    "Activation",
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d",
    "ArrayResult",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "BatchNorm",
    "BinaryCrossEntropy",
    "Concatenate",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "CosineEmbedding",
    "CrossEntropy",
    "Dense",
    "Dropout",
    "Embedding",
    "Entry",
    "Flatten",
    "GlobalAvgPool",
    "GlobalMaxPool",
    "GradientError",
    "GroupNorm",
    "Hinge",
    "Huber",
    "InstanceNorm",
    "KLDivergence",
    "LayerNorm",
    "LongRunWarning",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "MultiHeadAttention",
    "MultiMargin",
    "NegativeLogLikelihood",
    "Network",
    "PReLU",
    "RMSNorm",
    "Report",
    "Residual",
    "Sequential",
    "SquaredError",
    "SwiGLU",
    "TaylorReport",
    "TensorLayer",
    "TripletMargin",
    "callback",
    "check_hessian",
    "check_hvp",
    "check_jacobian",
    "check_jvp",
    "check_layer",
    "check_objective",
    "check_training_step",
    "check_vjp",
    "get_include",
    "gradcheck",
    "numerical_gradient",
    "plot_step_sweep",
    "relative_error",
    "show_config",
    "taylor_test",
    "trace",
]

_ADAPTERS = ("jax", "onnx", "sklearn", "torch")


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
