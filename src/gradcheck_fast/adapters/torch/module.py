"""The loss of a PyTorch module on given data, and its gradient, found by runs of private copies."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from math import isclose, isfinite
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from gradcheck_fast.adapters.common import SAME_FUNCTION, Arrays, InTurn, require_same_gradient, same_loss
from gradcheck_fast.adapters.torch.copies import Copies, arrays_of, fresh, survive_a_fork, value_of
from gradcheck_fast.adapters.torch.found import Found
from gradcheck_fast.adapters.torch.runs import (
    Frozen,
    Observer,
    Run,
    Widened,
    gradients,
    notes_on_differences,
    with_gradients,
)
from gradcheck_fast.checks.as_problem import may_trace
from gradcheck_fast.frontends.graphs.graph_loss import GraphLoss, graph_loss
from gradcheck_fast.frontends.graphs.held import held_loss
from gradcheck_fast.frontends.numpy_trace.recording import Untraceable
from gradcheck_fast.frontends.numpy_trace.traced_loss import Disagreement
from gradcheck_fast.frontends.torch_chain import as_loss_module, describe
from gradcheck_fast.frontends.torch_trace.detached import Detachments
from gradcheck_fast.frontends.torch_trace.held import Held
from gradcheck_fast.frontends.torch_trace.replay import tracing
from gradcheck_fast.inputs.arrays import coarsest, require_float64
from gradcheck_fast.inputs.trees import Packed, pack, pack_as
from gradcheck_fast.losses.transposed import Transposed

if TYPE_CHECKING:
    from gradcheck_fast.checks.options import Options
    from gradcheck_fast.frontends.numpy_trace.array import TracedArray
    from gradcheck_fast.frontends.numpy_trace.recording import Recording
    from gradcheck_fast.frontends.torch_trace.tracing import Tracing

_DOUBLE = {torch.float64, torch.complex128}
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

    def may_trace(self, settings: Options) -> bool:
        """Whether the operations are to be traced.

        Directions see less of a gradient of less than float64 if its differences are exact.
        """
        in_double = all(tensor.dtype in _DOUBLE for tensor in self.parameters.values())
        return may_trace(settings) and (in_double or settings.method != "directional")

    def traced(self, at: Arrays, double: Runner, settings: Options) -> GraphLoss:
        """Traces the operations of a runner of float64 copies, whose loss was called here first, if it was.

        Where that changes the loss, what is detached is held fixed, if that gives the values of the loss.

        Raises
        ------
        Exception
            If they cannot be traced, or if the loss does something else than its trace.
        """
        cost, params, held = InTurn(double.loss), settings.selected(pack(at)).params, Held()
        try:
            loss = graph_loss(cost, partial(double.traced, held=held), params, double.first)
            loss.notes += held.notes_on_padding
            return loss
        except Disagreement:
            if not held:
                raise
        try:
            loss = held_loss(cost, partial(double.traced, held=held), params)
        except (Untraceable, Disagreement):
            return graph_loss(cost, double.traced, params)
        loss.notes += held.notes
        return loss

    def runner(self, draws: Sequence[torch.Tensor] = ()) -> Runner:
        """Makes a runner of copies, which get these random numbers, if there are any."""
        return Runner(self._copies(None), list(self.parameters), self._known_loss, draws)

    def runner_in_double(self, found: Found) -> Runner:
        """Makes a runner of copies in float64, which get the random numbers that were found.

        If the module computes in coarse numbers on the way, these are made float64 as well.
        """
        widens = found.gradient.computed_in.is_coarse
        copies = found.copies if found.copies.dtypes <= _DOUBLE else self._copies(torch.float64)
        runner = Runner(copies, list(self.parameters), self._known_loss, found.draws, widens)
        runner.in_double, runner.held = True, self.rows_of_padding(found.gradient)
        runner.known = found.value if copies is found.copies and not widens else None
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
                if name in arrays and not arrays[name][child.padding_idx].any():
                    found[name] = child.padding_idx
        return found

    @property
    def _known_loss(self) -> bool:
        return as_loss_module(self.loss_fn) is not None

    def found(self, at: Arrays) -> Found:
        """Runs the module in its own dtype.

        Its operations are observed. Under observation, PyTorch does not run compiled code but what it was compiled
        from: where there may be any, the gradient is that of a run before. Random numbers are drawn twice.

        Raises
        ------
        ValueError
            If random numbers are drawn that cannot be frozen.
        """
        copies = self._copies(None)
        runner = Runner(copies, list(self.parameters), self._known_loss, ())
        if "torch._dynamo" in sys.modules:
            value, gradient, _ = runner.gradient(at, self.parameters)
            again, _, seen = runner.gradient(at, mode=Observer)
        else:
            value, gradient, seen = runner.gradient(at, self.parameters, Observer)
            again = runner.gradient(at)[0] if seen.draws and not seen.unfrozen else value
        hint = "without what is random in it, as after module.eval(), the loss can be checked"
        if seen.unfrozen:
            raise ValueError(f"the loss draws random numbers in {seen.unfrozen}, which cannot be frozen; {hint}")
        if seen.draws and not isclose(value, again, rel_tol=_SAME_RUN) and isfinite(value):
            raise ValueError(
                f"the loss is {value:.10g} at first and {again:.10g} the next time, with PyTorch's random numbers as "
                f"they were: other random numbers, or those of compiled code, cannot be frozen; {hint}"
            )
        own = pack_as(gradient, {name: array.shape for name, array in at.items()}, finite=False)
        own = replace(own, computed_in=seen.computed_in)
        return Found(own, value, seen.draws, copies, seen.around, seen.numbers)

    def require_same_loss(self, at: Arrays, found: Found, double: Runner) -> None:
        """Raises a ValueError if the loss in float64 is not that in the module's own dtype, but for roundings."""
        eps = coarsest((*found.gradient.precisions, found.gradient.computed_in)).eps
        in_double = double.loss(at)
        if not same_loss(found.value, in_double, eps, self.runner(found.draws).value, at):
            gradients = dict(found.gradient.arrays(found.gradient.flat)), double.gradient_in_double(at)
            require_same_gradient((found.value, in_double), gradients, eps, "module.double()")

    def notes_on_failure(self, method: str) -> tuple[str, ...]:
        """Gives notes if forward writes into buffers, or detaches where that counts in plain differences.

        Its gradient may differ from the differences for that reason.
        """
        copies = self._copies(None)
        runner = Runner(copies, list(self.parameters), self._known_loss, ())
        at = arrays_of(self.parameters)
        seen = runner.detachments(at)
        kept = [f"{path}." for path, child in self.module.named_modules() if isinstance(child, _NormBase)]
        after = dict(copies["module"].named_buffers())
        written = [
            name for name, buffer in self.module.named_buffers()
            if not (torch.equal(buffer, after[name]) or name.startswith(tuple(kept)))
        ]  # fmt: skip
        is_plain = method in ("direct", "complex", "directional")
        return notes_on_differences(written, is_plain and (seen.detaches or seen.switches_off))

    def _copies(self, dtype: torch.dtype | None) -> Copies:
        data = (self.inputs, self.targets)
        return Copies(dtype, module=self.module, loss_fn=self.loss_fn, data=data)


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
        self, copies: Copies, names: Sequence[str], known_loss: bool, draws: Sequence[torch.Tensor],
        widens: bool = False,
    ) -> None:  # fmt: skip
        self._copies, self._names, self._known_loss, self._draws = copies, names, known_loss, draws
        own = dict(copies["module"].named_parameters())
        self._parameters = {name: own[name] for name in names}
        #: The rows of parameters that stay as they are in the copies, whatever the parameters are set to.
        self.held: dict[str, int] = {}
        #: Whether the copies are of float64. Then what is compiled runs uncompiled: nothing is compiled anew for them.
        self.in_double = False
        #: The values of a run of these copies with autograd, and of the first call of `loss`, at the same parameters.
        self.known: float | None = None
        self.first: float | None = None
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
        arrays = {name: torch.zeros_like(p) if grad is None else grad for (name, p), grad in own}
        return value, arrays_of(arrays), entered

    def gradient_in_double(self, params: Arrays) -> Arrays:
        """Finds the gradient in float64, with copies that are of float64."""
        self._choose(params)
        _, found, _ = self.gradient(params, mode=self._mode)
        return found

    def loss(self, params: Arrays) -> float:
        """Finds the value in float64, with copies that are of float64."""
        survive_a_fork()
        chosen = self._choose(params)
        if chosen is None:
            with self._mode():
                chosen = self._run(params, self._differentiates)
        require_float64("loss_fn", np.dtype(str(chosen.dtype).removeprefix("torch.")))
        value = float(chosen.detach())
        self.first = value if self.first is None else self.first
        return value

    def described(self, loss_fn: Any) -> Transposed:
        """Describes the loss as that of a network; see `torch_chain`.

        Parameters
        ----------
        loss_fn : callable
            That of the user: what it is, and not its copy, says which of PyTorch's losses it is.
        """
        self._copies.restore()
        for parameter in self._parameters.values():
            parameter.requires_grad_()
        return describe(self._copies["module"], loss_fn, *self._copies["data"])

    def traced(self, recording: Recording, arrays: dict[str, TracedArray], held: Held | None = None) -> Any:
        """Computes the loss in float64 once more, and returns what a recording knows of it; see `tracing`."""
        params = {name: array._view for name, array in arrays.items()}
        self._choose(params)
        modules = dict(self._copies["module"].named_modules())
        with ExitStack() as stack:
            stack.enter_context(self._mode())
            tracer: list[Tracing] = []

            def begin() -> None:
                tracer.append(stack.enter_context(tracing(recording, self._parameters, arrays, modules, held)))
                for name, row in self.held.items():
                    tracer[0].hold(self._parameters[name], row)

            value = self._run(params, self._differentiates, begin)
            return tracer[0].value(value)

    def detachments(self, params: Arrays) -> Detachments:
        """Runs the module and its loss, and returns what was seen of what they cut off."""
        with ExitStack() as stack:
            seen = Detachments()
            self._run(params, True, lambda: stack.enter_context(seen))
            return seen

    def value(self, params: Arrays) -> float:
        """Finds the value in the dtype of the copies."""
        return float(self._differentiable(params).detach())

    def _differentiable(self, params: Arrays) -> torch.Tensor:
        with self._mode():
            return self._run(params, differentiates=True)

    @contextmanager
    def _mode(self) -> Iterator[None]:
        runs_eagerly = self.in_double and "torch._dynamo" in sys.modules
        eagerly = torch.compiler.set_stance("force_eager") if runs_eagerly else nullcontext()
        widened = Widened() if self._widens else nullcontext()
        with eagerly, widened, Frozen(self._draws) if self._draws else nullcontext():
            yield

    def _choose(self, params: Arrays) -> torch.Tensor | None:
        """Finds out, in the first call, how the loss can be computed in float64, and returns it; later None.

        Tensors that forward makes in float32 may not go together with float64: then everything is widened. If forward
        asks for gradients itself, parameters must require a gradient; otherwise they do not, which saves time.
        """
        if self._is_chosen:
            return None
        value, expected = None, self.known
        if expected is None:
            try:
                value = self._differentiable(params)
            except RuntimeError as error:
                if "double" not in str(error).lower():
                    raise
                self._widens = True
                value = self._differentiable(params)
            expected = value.item()
        try:
            with warnings.catch_warnings(), self._mode():
                warnings.simplefilter("error")  # PyTorch's checkpoints warn if none of their inputs requires a gradient
                found = self._run(params, differentiates=False).detach()
            self._differentiates = not isclose(found.item(), expected, rel_tol=SAME_FUNCTION, abs_tol=SAME_FUNCTION)
        except Exception:
            self._differentiates = True
        self._is_chosen = True
        return value if self._differentiates else found

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
                    parameter.copy_(value_of(name, parameter, params))
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
                got = f"{value.dtype} of shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else repr(value)
                raise TypeError(f"loss_fn: expected it to give a tensor of one real number, got {got}")
            return value.reshape(())
