"""The loss of a PyTorch module on given data, and its gradient, found by runs of private copies."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from math import isclose, isfinite
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from gradcheck_fast.adapters.common import SAME_FUNCTION, Arrays, InTurn, require_same_gradient, same_loss
from gradcheck_fast.adapters.torch.copies import Copies, array_of, fresh, survive_a_fork
from gradcheck_fast.adapters.torch.runs import Frozen, Observer, Run, Widened, gradients, notes_on, with_gradients
from gradcheck_fast.checks.as_problem import may_trace
from gradcheck_fast.frontends.graphs.graph_loss import GraphLoss, graph_loss
from gradcheck_fast.frontends.numpy_trace.traced_loss import Disagreement
from gradcheck_fast.frontends.torch_chain import as_loss_module, describe
from gradcheck_fast.frontends.torch_trace.replay import tracing
from gradcheck_fast.inputs.arrays import coarsest, require_float64
from gradcheck_fast.inputs.trees import Packed, pack, pack_as
from gradcheck_fast.losses.transposed import Transposed
from gradcheck_fast.program.steps.opaque import OPAQUE

if TYPE_CHECKING:
    from gradcheck_fast.checks.options import Options
    from gradcheck_fast.frontends.numpy_trace.array import TracedArray
    from gradcheck_fast.frontends.numpy_trace.recording import Recording
    from gradcheck_fast.frontends.torch_trace.tracing import Tracing

#: Two runs with the same random numbers differ by less than this part, even if one of them is of compiled code.
_SAME_RUN = 1e-3


def _nothing() -> None:
    """Does nothing."""


class ModuleCase(NamedTuple):
    """A module with its loss and data, as the user has given them."""

    module: nn.Module
    loss_fn: Any
    inputs: tuple[Any, ...]
    targets: Any

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """The parameters that are checked, by name."""
        return {name: tensor for name, tensor in self.module.named_parameters() if tensor.requires_grad}

    def described(self) -> Transposed:
        """Describes the loss as that of a network; see `torch_chain`."""
        copies = self._copies(torch.float64)  # tracing leaves things behind
        inputs, targets = copies["data"]
        return describe(copies["module"], self.loss_fn, inputs, targets)

    def may_trace(self, settings: Options) -> bool:
        """Whether the operations are to be traced.

        Directions see less of a gradient of less than float64 if its differences are exact.
        """
        in_double = all(tensor.dtype is torch.float64 for tensor in self.parameters.values())
        return may_trace(settings) and (in_double or settings.method != "directional")

    def traced(self, at: Arrays, double: Runner, method: str) -> GraphLoss:
        """Traces the operations of a runner of float64 copies; see `torch_trace`.

        Operators that are not known have no exact differences, which the method ``directional`` needs.

        Raises
        ------
        Exception
            If they cannot be traced, or if the loss does something else than its trace.
        """
        loss = graph_loss(InTurn(double.loss), double.traced, pack(at))
        if method == "directional" and any(step.name == OPAQUE.name for step in loss.program.steps):
            raise Disagreement("; ".join(loss.notes))
        return loss

    def runner(self, draws: Sequence[torch.Tensor] = ()) -> Runner:
        """Makes a runner of copies, which get these random numbers, if there are any."""
        return Runner(self._copies(None), list(self.parameters), self._known_loss, draws)

    def runner_in_double(self, found: Found) -> Runner:
        """Makes a runner of copies in float64, which get the random numbers that were found.

        If the module computes in coarse numbers on the way, these are made float64 as well.
        """
        widens = found.gradient.computed_in.is_coarse
        runner = Runner(self._copies(torch.float64), list(self.parameters), self._known_loss, found.draws, widens)
        runner.held = self.rows_of_padding(found.gradient)
        return runner

    def rows_of_padding(self, gradient: Packed) -> dict[str, int]:
        """Returns the rows that embeddings have for padding, by the name of the parameter, if their gradient is zero.

        PyTorch gives such a row no gradient where it is looked up, though the loss may depend on it.
        """
        arrays = dict(gradient.arrays(gradient.flat))
        names = {id(parameter): name for name, parameter in self.parameters.items()}
        found = {}
        for child in self.module.modules():
            if isinstance(child, (nn.Embedding, nn.EmbeddingBag)) and child.padding_idx is not None:
                name = names.get(id(child.weight))
                if name is not None and not arrays[name][child.padding_idx].any():
                    found[name] = child.padding_idx
        return found

    @property
    def _known_loss(self) -> bool:
        return as_loss_module(self.loss_fn) is not None

    def found(self, at: Arrays) -> Found:
        """Runs the module in its own dtype.

        The operations of a second run are observed, not those of the first: under observation, PyTorch does not run
        compiled code but what it was compiled from.

        Raises
        ------
        ValueError
            If random numbers are drawn that cannot be frozen.
        """
        runner = self.runner()
        value, gradient, _ = runner.gradient(at, self.parameters)
        again, _, seen = runner.gradient(at, mode=Observer)
        hint = "without what is random in it, as after module.eval(), the loss can be checked"
        if seen.unfrozen:
            raise ValueError(f"the loss draws random numbers in {seen.unfrozen}, which cannot be frozen; {hint}")
        if seen.draws and not isclose(value, again, rel_tol=_SAME_RUN) and isfinite(value):
            raise ValueError(
                f"the loss is {value:.10g} at first and {again:.10g} the next time, with PyTorch's random numbers as "
                f"they were: other random numbers, or those of compiled code, cannot be frozen; {hint}"
            )
        packed = pack_as(gradient, {name: array.shape for name, array in at.items()}, finite=False)
        return Found(replace(packed, computed_in=seen.computed_in), value, seen.draws)

    def require_same_loss(self, at: Arrays, found: Found, double: Runner) -> None:
        """Raises a ValueError if the loss in float64 is not that in the module's own dtype, but for roundings."""
        eps = coarsest((*found.gradient.precisions, found.gradient.computed_in)).eps
        in_double = double.loss(at)
        if not same_loss(found.value, in_double, eps, self.runner(found.draws).value, at):
            gradients = dict(found.gradient.arrays(found.gradient.flat)), double.gradient_in_double(at)
            require_same_gradient((found.value, in_double), gradients, eps, "module.double()")

    def notes_on_failure(self) -> tuple[str, ...]:
        """Gives a note if forward writes into buffers: its gradient may differ from the differences for that reason."""
        copies = self._copies(None)
        runner = Runner(copies, list(self.parameters), self._known_loss, ())
        runner.gradient({name: array_of(tensor) for name, tensor in self.parameters.items()})
        kept = [f"{path}." for path, child in self.module.named_modules() if isinstance(child, _NormBase)]
        after = dict(copies["module"].named_buffers())
        written = [
            name for name, buffer in self.module.named_buffers()
            if not torch.equal(buffer, after[name]) and not name.startswith(tuple(kept))
        ]  # fmt: skip
        said = (
            f"forward writes into {', '.join(written)}; where the loss depends on what it writes, as in training with "
            "spectral_norm, that counts in the differences but not in the gradient. module.eval() may keep them"
        )
        return (said,) if written else ()

    def _copies(self, dtype: torch.dtype | None) -> Copies:
        data = (self.inputs, self.targets)
        return Copies(dtype, module=self.module, loss_fn=self.loss_fn, data=data)


class Found(NamedTuple):
    """What a run in the module's own dtype has found.

    Attributes
    ----------
    gradient : Packed
    value : float
        The value of the loss.
    draws : list of tensor
        The random numbers that were drawn.
    """

    gradient: Packed
    value: float
    draws: list[torch.Tensor]

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for the report: on frozen random numbers and on coarse numbers."""
        return notes_on(self.draws, self.gradient.computed_in)


class Runner:
    """Evaluates the loss of copies, each time as if it was the first. It can be pickled, if the copies can.

    Parameters
    ----------
    copies : Copies
        The copies of ``module``, of ``loss_fn``, and of ``data``: the inputs and the targets.
    names : sequence of str
        The names of the parameters that are set.
    known_loss : bool
        Whether the loss is one of PyTorch's own.
    draws : sequence of tensor
        The random numbers that take the place of new ones.
    widens : bool
        Whether everything is computed in float64, even where the code asks for another dtype.
    """

    def __init__(
        self,
        copies: Copies,
        names: Sequence[str],
        known_loss: bool,
        draws: Sequence[torch.Tensor],
        widens: bool = False,
    ) -> None:
        self._copies, self._names, self._known_loss, self._draws = copies, names, known_loss, draws
        own = dict(copies["module"].named_parameters())
        self._parameters = {name: own[name] for name in names}
        #: The rows of parameters that stay as they are in the copies, whatever the parameters are set to.
        self.held: dict[str, int] = {}
        self._widens = widens
        self._is_chosen = self._differentiates = False

    def gradient(
        self,
        params: Arrays,
        strangers: Mapping[str, torch.Tensor] | None = None,
        mode: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> tuple[float, Arrays, Any]:
        """Finds the value of the loss and its gradient by autograd, in a context that `mode` makes.

        It returns the value, the gradient and the context.

        Raises
        ------
        ValueError
            If the loss depends on no parameter, or on one of the `strangers`: the parameters of the original module.
        """
        value = float("nan")

        def run() -> Run:
            nonlocal value
            found = self._run(params, differentiates=True)
            if not found.requires_grad:
                raise ValueError("loss_fn: its value does not depend on any parameter; was it detached?")
            value = found.detach().item()
            return Run([found], [*self._parameters.values(), *(strangers or {}).values()])

        grads, entered = gradients(run, mode)
        for name, grad in zip(strangers or {}, grads[len(self._names) :], strict=True):
            if grad is not None:
                raise ValueError(
                    f"loss_fn: its value depends on the parameter {name} of the module itself, not only on those of "
                    "the copy that is run in its place: forward or loss_fn has the module or the parameter from "
                    "elsewhere (a closure, a global variable). Let forward read it from self, and give what loss_fn "
                    "needs of it, such as a penalty, with the output"
                )
        own = zip(self._parameters.items(), grads[: len(self._names)], strict=True)
        arrays = {name: array_of(torch.zeros_like(p) if grad is None else grad) for (name, p), grad in own}
        return value, arrays, entered

    def gradient_in_double(self, params: Arrays) -> Arrays:
        """Finds the gradient in float64, with copies that are of float64."""
        self._choose(params)
        _, found, _ = self.gradient(params, mode=self._mode)
        return found

    def loss(self, params: Arrays) -> float:
        """Finds the value in float64, with copies that are of float64."""
        survive_a_fork()
        self._choose(params)
        with self._mode():
            value = self._run(params, self._differentiates)
        require_float64("loss_fn", np.dtype(str(value.dtype).removeprefix("torch.")))
        return float(value.detach())

    def traced(self, recording: Recording, arrays: dict[str, TracedArray]) -> Any:
        """Computes the loss in float64 once more, and returns what a recording knows of it; see `tracing`."""
        params = {name: array._view for name, array in arrays.items()}
        self._choose(params)
        modules = dict(self._copies["module"].named_modules())
        with ExitStack() as stack:
            stack.enter_context(self._mode())
            tracer: list[Tracing] = []

            def begin() -> None:
                tracer.append(stack.enter_context(tracing(recording, self._parameters, arrays, modules)))
                for name, row in self.held.items():
                    tracer[0].hold(self._parameters[name], row)

            value = self._run(params, self._differentiates, begin)
            return tracer[0].value(value)

    def value(self, params: Arrays) -> float:
        """Finds the value in the dtype of the copies."""
        with self._mode():
            return float(self._run(params, differentiates=True).detach())

    @contextmanager
    def _mode(self) -> Iterator[None]:
        with Widened() if self._widens else nullcontext(), Frozen(self._draws) if self._draws else nullcontext():
            yield

    def _choose(self, params: Arrays) -> None:
        """Finds out, in the first call, how the loss can be computed in float64.

        Tensors that forward makes in float32 may not go together with float64: then everything is widened. If forward
        asks for gradients itself, parameters must require a gradient; otherwise they do not, which saves time.
        """
        if self._is_chosen:
            return
        try:
            value = self.value(params)
        except RuntimeError as error:
            if "double" not in str(error).lower():
                raise
            self._widens = True
            value = self.value(params)
        try:
            with warnings.catch_warnings(), self._mode():
                warnings.simplefilter("error")  # PyTorch's checkpoints warn if none of their inputs requires a gradient
                found = self._run(params, differentiates=False).detach().item()
            self._differentiates = not isclose(found, value, rel_tol=SAME_FUNCTION, abs_tol=SAME_FUNCTION)
        except Exception:
            self._differentiates = True
        self._is_chosen = True

    def _run(self, params: Arrays, differentiates: bool, begin: Callable[[], Any] = _nothing) -> torch.Tensor:
        """Computes the loss at these parameters, which require a gradient only if `differentiates` is True.

        `begin` is called when the parameters are set, before the module is.
        """
        with with_gradients():
            torch.clear_autocast_cache()  # it knows parameters by their identity, not by their values
            self._copies.restore()
            with torch.no_grad():
                for name, parameter in self._parameters.items():
                    row = parameter[self.held[name]].clone() if name in self.held else None
                    parameter.copy_(torch.as_tensor(params[name]))
                    if row is not None:
                        parameter[self.held[name]] = row
                    parameter.requires_grad_(differentiates)
            inputs, targets = fresh(self._copies["data"])
            begin()
            output = self._copies["module"](*inputs)
            if isinstance(output, tuple) and self._known_loss:
                output = output[0]
            loss_fn = self._copies["loss_fn"]
            value = loss_fn(output) if targets is None else loss_fn(output, targets)
            if not isinstance(value, torch.Tensor) or value.numel() != 1 or not value.dtype.is_floating_point:
                got = f"one of shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else repr(value)
                raise TypeError(f"loss_fn: expected it to give a tensor of one real number, got {got}")
            return value.reshape(())
