"""Turns a PyTorch module and loss into a `Network`, if that has everything that they are made of.

The module is traced by `torch.fx`, so that a Sequential gives the same as a `forward` that calls its layers one after
another.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from types import FunctionType
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import fx, nn
from torch.nn import functional

from gradcheck_fast.frontends.network.cost import Cost
from gradcheck_fast.frontends.network.costs import (
    AbsoluteError,
    BinaryCrossEntropy,
    CrossEntropy,
    Huber,
    SquaredError,
)
from gradcheck_fast.frontends.network.layers import Dense
from gradcheck_fast.frontends.network.network import Network
from gradcheck_fast.frontends.network.recurrent import GRU, LSTM, RNN, Recurrent
from gradcheck_fast.frontends.torch_trace.detached import Detachments
from gradcheck_fast.frontends.unknown import Unknown
from gradcheck_fast.losses.transposed import Transposed

#: A layer of `Network`, and its parameters in PyTorch by the layer's own names. PyTorch's matrices are the layer's,
#: transposed.
Described: TypeAlias = tuple[Dense | Recurrent, dict[str, nn.Parameter]]

#: The modules that are activations of `Dense`, by the names that these have there.
_ACTIVATIONS: dict[str, nn.Module] = {
    "sigmoid": nn.Sigmoid(),
    "tanh": nn.Tanh(),
    "relu": nn.ReLU(),
    "leaky_relu": nn.LeakyReLU(0.01),
    "elu": nn.ELU(),
    "selu": nn.SELU(),
    "softplus": nn.Softplus(),
    "softsign": nn.Softsign(),
    "silu": nn.SiLU(),
    "gelu": nn.GELU(),
    "gelu_tanh": nn.GELU("tanh"),
    "hardtanh": nn.Hardtanh(),
    "relu6": nn.ReLU6(),
    "softmax": nn.Softmax(-1),
}
#: The modules that do the same as functions in a `forward`. Methods of tensors have the names of functions of `torch`.
_MODULES: dict[Callable[..., Any], type[nn.Module]] = {
    **dict.fromkeys((torch.sigmoid, functional.sigmoid), nn.Sigmoid),
    **dict.fromkeys((torch.tanh, functional.tanh), nn.Tanh),
    **dict.fromkeys((torch.relu, functional.relu), nn.ReLU),
    **dict.fromkeys((torch.softmax, functional.softmax), nn.Softmax),
    **dict.fromkeys((torch.log_softmax, functional.log_softmax), nn.LogSoftmax),
    functional.leaky_relu: nn.LeakyReLU,
    functional.elu: nn.ELU,
    functional.selu: nn.SELU,
    functional.softplus: nn.Softplus,
    functional.softsign: nn.Softsign,
    functional.silu: nn.SiLU,
    functional.gelu: nn.GELU,
    functional.hardtanh: nn.Hardtanh,
    functional.relu6: nn.ReLU6,
}
#: The modules that do the same as the functions that are losses.
_LOSSES: dict[Callable[..., Any], type[nn.Module]] = {
    functional.mse_loss: nn.MSELoss,
    functional.l1_loss: nn.L1Loss,
    functional.huber_loss: nn.HuberLoss,
    functional.smooth_l1_loss: nn.SmoothL1Loss,
    functional.binary_cross_entropy: nn.BCELoss,
    functional.binary_cross_entropy_with_logits: nn.BCEWithLogitsLoss,
    functional.cross_entropy: nn.CrossEntropyLoss,
    functional.nll_loss: nn.NLLLoss,
}
#: The functions that turn PyTorch's losses into costs of `Network`.
_COSTS: dict[type[nn.Module], Callable[[Any], Cost]] = {
    nn.MSELoss: lambda loss: SquaredError(reduction=loss.reduction),
    nn.L1Loss: lambda loss: AbsoluteError(reduction=loss.reduction),
    nn.HuberLoss: lambda loss: Huber(loss.delta, reduction=loss.reduction),
    nn.SmoothL1Loss: lambda loss: Huber(loss.beta, reduction=loss.reduction),
    nn.BCELoss: lambda loss: BinaryCrossEntropy(False, reduction=loss.reduction),
    nn.BCEWithLogitsLoss: lambda loss: BinaryCrossEntropy(reduction=loss.reduction),
    nn.CrossEntropyLoss: lambda loss: CrossEntropy(reduction=loss.reduction),
    nn.NLLLoss: lambda loss: CrossEntropy(reduction=loss.reduction),
}
#: The settings that losses must have to be costs of `Network`.
_PLAIN = {"weight": None, "pos_weight": None, "label_smoothing": 0.0, "beta": 1.0, "ignore_index": -100}
#: PyTorch's names of the parameters of recurrent layers.
_OF_CELLS = {"Wx": "weight_ih", "Wh": "weight_hh", "bx": "bias_ih", "bh": "bias_hh"}
#: The recurrent layers of `Network` that are PyTorch's.
_CELLS: dict[type[nn.Module], type[Recurrent]] = {nn.RNN: RNN, nn.GRU: GRU, nn.LSTM: LSTM}
#: The modules with parameters that are layers of `Network`.
_LAYERS = {nn.Linear, *_CELLS}
#: The index ``:``, which takes everything along an axis.
_EVERY = slice(None)


def as_loss_module(loss_fn: Any) -> nn.Module | None:
    """Returns `loss_fn` as one of PyTorch's loss modules if it is one, or the function of one; None if it is not."""
    if type(loss_fn) in _COSTS:
        return loss_fn
    settings = {}
    if isinstance(loss_fn, partial) and not loss_fn.args:
        loss_fn, settings = loss_fn.func, loss_fn.keywords
    kind = _LOSSES.get(loss_fn) if isinstance(loss_fn, FunctionType) else None
    return kind(**settings) if kind else None


def describe(module: nn.Module, loss_fn: Any, inputs: tuple[Any, ...], targets: Any) -> Transposed:
    """Turns the loss of a module on its inputs and targets into that of a `Network` with the module's names.

    The module should be a copy: its forward is run with arguments that are no tensors, and may keep them.

    Parameters
    ----------
    module : Module
    loss_fn : Module or callable
    inputs : tuple of Tensor
        The arguments of the module, of which there must be one.
    targets : Tensor

    Raises
    ------
    Unknown
        If the engine does not know some part, or if the inputs or targets do not fit a network.
    """
    loss = as_loss_module(loss_fn)
    if loss is None:
        raise Unknown("loss_fn is none of PyTorch's losses that a Network has")
    if len(inputs) != 1 or not all(isinstance(data, torch.Tensor) for data in (*inputs, targets)):
        raise Unknown("inputs and targets are not one tensor each")
    chain = _Chain(inputs[0])
    for stage in _stages(module):
        chain.add(stage)
    parameters = [own[name] for layer, own in chain.described for name in layer.shapes]
    names = _names(parameters, module)
    try:
        network = Network([layer for layer, _ in chain.described], _cost(loss, chain.log_softmax), names=names)
        compiled = network.loss_of_rows(chain.samples_first(chain.inputs), chain.samples_first(targets))
    except (TypeError, ValueError) as error:
        raise Unknown(str(error)) from None
    checked = [name for name, parameter in module.named_parameters() if parameter.requires_grad]
    return Transposed(compiled, dict(zip(names, map(_numbers, parameters), strict=True)), checked)


def _names(parameters: list[torch.Tensor], module: nn.Module) -> list[str]:
    """Returns the module's names of the parameters of its layers, and raises Unknown if it has other parameters."""
    named = {id(parameter): name for name, parameter in module.named_parameters()}
    if len({id(parameter) for parameter in parameters}) < len(parameters):
        raise Unknown("a parameter is used in more than one place")
    if not all(id(parameter) in named for parameter in parameters):
        raise Unknown("the weights of a layer are no parameters, but computed")
    names = [named[id(parameter)] for parameter in parameters]
    other = next((name for name in named.values() if name not in names), None)
    if other is not None:
        raise Unknown(f"{other} is a parameter of none of its layers")
    return names


def _numbers(tensor: torch.Tensor) -> np.ndarray[Any, Any]:
    array: np.ndarray[Any, Any] = tensor.detach().cpu().numpy()
    return array.astype(np.float64) if array.dtype.kind == "f" else array


class _Stage(NamedTuple):
    """A link of the chain.

    Attributes
    ----------
    label : str
        What error messages call it.
    module : Module
    path : tuple
        The indices that are applied to its output, one after another.
    """

    label: str
    module: nn.Module
    path: tuple[Any, ...] = ()


def _stages(module: nn.Module) -> list[_Stage]:
    """Traces a module and returns what it does, one stage after another."""
    for path, child in module.named_modules():  # no trace is needed to see that these parameters are of no layer
        has_parameters = any(parameter is not None for parameter in child._parameters.values())
        if has_parameters and child.__module__.startswith("torch.nn.") and type(child) not in _LAYERS:
            raise Unknown(f"module {path} is {type(child).__name__}({child.extra_repr()}), which no Network has")
    root = nn.Sequential(module)
    try:
        with Detachments() as gradients:
            graph = fx.Tracer().trace(root)
    except Exception as error:  # a forward may raise anything for an argument that is no tensor
        what, *_ = str(error).split("\n")
        raise Unknown(f"forward cannot be traced ({what})") from None
    if gradients.switches_off:
        raise Unknown("forward switches gradients off")
    for node in reversed(graph.nodes):  # such as the states of an LSTM that nobody reads
        if not node.users and node.op not in ("placeholder", "output"):
            graph.erase_node(node)
    stages: list[_Stage] = []
    before, *nodes = graph.nodes
    for node in nodes:
        label = _label(node)
        if node.op == "placeholder" or node.args[:1] != (before,) or len(node.all_input_nodes) > 1:
            raise Unknown(f"{label} is no link of a chain")
        if node.op == "call_module":
            stages.append(_Stage(label, root.get_submodule(node.target)))
        elif node.target is operator.getitem and stages:
            stages[-1] = stages[-1]._replace(path=(*stages[-1].path, node.args[1]))
        elif node.op != "output":
            stages.append(_Stage(label, _module_of(label, node)))
        before = node
    return stages


def _label(node: fx.Node) -> str:
    if node.op == "call_module":
        return f"module {str(node.target).removeprefix('0.')}" if node.target != "0" else "the module"
    return f"{getattr(node.target, '__name__', node.target)}() in forward"


def _module_of(label: str, node: fx.Node) -> nn.Module:
    """Returns the module that does the same as a function or method in a `forward`."""
    function = getattr(torch, node.target, None) if isinstance(node.target, str) else node.target
    settings = {key: value for key, value in node.kwargs.items() if key != "_stacklevel" and value is not None}
    if function is torch.flatten and node.args[1:] in ((1,), (1, -1)) and not settings:
        return nn.Flatten()
    kind = _MODULES.get(function) if callable(function) else None
    if kind is not None:
        try:
            return kind(*node.args[1:], **settings)
        except TypeError:
            pass
    raise Unknown(f"{label} is none that a Network has")


class _Chain:
    """The layers of a `Network` for the stages that were added so far, and the inputs as these layers read them."""

    def __init__(self, inputs: torch.Tensor) -> None:
        self.inputs = inputs
        self.described: list[Described] = []
        self.log_softmax = False
        self._times_first = False

    def samples_first(self, data: torch.Tensor) -> np.ndarray[Any, Any]:
        """Returns inputs or targets as a network takes them, with the samples as the first axis."""
        has_times = data is self.inputs or self._has_times
        return _numbers(data.transpose(0, 1) if self._times_first and has_times and data.ndim > 1 else data)

    @property
    def _has_times(self) -> bool:
        """Whether the last layer gives a sequence."""
        return self.inputs.ndim > 2 and all(layer.return_sequences for layer, _ in self.described)

    def add(self, stage: _Stage) -> None:
        label, module, path = stage
        if self.log_softmax:
            raise Unknown(f"{label} comes after a log-softmax")
        if type(module) in _CELLS:
            self._add_recurrent(stage)
        elif path:
            raise Unknown(f"{label} is indexed")
        elif type(module) is nn.Linear:
            own = {"W": module.weight} | ({} if module.bias is None else {"b": module.bias})
            self.described.append((Dense(module.in_features, module.out_features, bias="b" in own), own))
        elif type(module) is nn.Flatten and module.start_dim == 1:
            if not self.described:
                self.inputs = module(self.inputs)
            elif any(isinstance(layer, Recurrent) for layer, _ in self.described):
                raise Unknown(f"{label} flattens a sequence")
        elif not (type(module) is nn.Identity or (type(module) is nn.Dropout and not (module.training and module.p))):
            self._add_activation(label, module)

    def _add_recurrent(self, stage: _Stage) -> None:
        label, module, path = stage
        if module.proj_size or (module.dropout and module.training):
            raise Unknown(f"{label} has projections or dropout")
        if self.described and self._times_first == module.batch_first:
            raise Unknown(f"{label} takes batches otherwise than what is before it")
        self._times_first = not module.batch_first
        final = (1, 0, -1) if isinstance(module, nn.LSTM) else (1, -1)
        last = ((0, (_EVERY, -1)), (0, (_EVERY, -1, _EVERY))) if module.batch_first else ((0, -1),)
        is_last = path == final or path in last
        if path not in ((), (0,)) and (not is_last or module.bidirectional):
            raise Unknown(f"{label}: neither all of its outputs are read nor the last one")
        for k in range(module.num_layers):
            layer = _CELLS[type(module)](
                module.input_size if k == 0 else module.hidden_size * (1 + module.bidirectional),
                module.hidden_size,
                bias="double" if module.bias else False,
                return_sequences=k < module.num_layers - 1 or not is_last,
                bidirectional=module.bidirectional,
                **({"activation": module.nonlinearity} if isinstance(module, nn.RNN) else {}),
            )
            own = {}
            for name in layer.shapes:
                kind, _, reverse = name.partition("_")
                own[name] = getattr(module, f"{_OF_CELLS[kind]}_l{k}{'_reverse' if reverse else ''}")
            self.described.append((layer, own))

    def _add_activation(self, label: str, module: nn.Module) -> None:
        if type(module) is nn.LogSoftmax and module.dim in (1, -1):
            self.log_softmax = True
            return
        if type(module) is nn.Softmax and module.dim == 1 and not self._has_times:
            module = nn.Softmax(-1)
        name = next((name for name, known in _ACTIVATIONS.items() if _settings(known) == _settings(module)), None)
        if name is None:
            raise Unknown(f"{label} is {type(module).__name__}({module.extra_repr()}), which no Network has")
        layer, own = self.described[-1] if self.described else (None, {})
        if not isinstance(layer, Dense) or layer.activation != "identity":
            raise Unknown(f"{label} is an activation that does not come right after a Linear")
        self.described[-1] = replace(layer, activation=name), own


def _settings(module: nn.Module) -> tuple[type[nn.Module], dict[str, Any]]:
    """Returns the type and settings, which two modules without parameters must share to be the same function."""
    names = getattr(module, "__constants__", ())
    return type(module), {name: getattr(module, name) for name in names if name != "inplace"}


def _cost(loss: Any, log_softmax: bool) -> Cost:
    for name, plain in _PLAIN.items():
        value = getattr(loss, name, plain)
        if isinstance(value, torch.Tensor) or value != plain:
            raise Unknown(f"{type(loss).__name__} has {name}={value}")
    if log_softmax != (type(loss) is nn.NLLLoss):
        raise Unknown("a log-softmax and NLLLoss are known only together")
    if loss.reduction == "none":
        raise Unknown("reduction='none' gives no number")
    return _COSTS[type(loss)](loss)
