"""A function of tensors whose gradient was found right, and what its aspects are compared with: that gradient."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from gradcheck_fast.adapters.torch.copies import arrays_of, precision_of
from gradcheck_fast.adapters.torch.runs import Frozen, with_gradients
from gradcheck_fast.inputs.arrays import format_index
from gradcheck_fast.inputs.complex_pairs import PYTORCH, gradient_by_name
from gradcheck_fast.inputs.trees import pack, walk

if TYPE_CHECKING:
    from gradcheck_fast.adapters.torch.function import FunctionCall
    from gradcheck_fast.checks.options import Options

#: Gradients are the same if they differ by no more roundings of the largest entry of their array than this, and by no
#: more than so many times what roundings of the inputs and of the cotangent change in them; the second pair is for
#: numbers of no more than 16 bits.
ROUNDINGS, COARSE_ROUNDINGS = 64.0, 4.0
#: From this size on, a rounding is a coarse one.
COARSE = 1e-4
#: Nothing is told from a gradient that roundings change by more than this part of its largest entry.
MOST_NOISE = 0.25
#: At most so many inputs and outputs are looked at one by one.
MOST = 8


class NotChecked(Exception):
    """An aspect that cannot be checked; the message says why."""


class Raised(Exception):
    """An error that the function or its backward has raised; the message is its first line."""

    def __init__(self, error: Exception) -> None:
        super().__init__(f"{type(error).__name__} was raised: {str(error).strip().partition(chr(10))[0]}")
        self.error = error


class Recorded(NamedTuple):
    """One call of the function, which autograd has recorded.

    Attributes
    ----------
    leaves : list of tensor
        The numbers of the inputs that are checked.
    arguments : dict of tensor
        All tensors that the function was given, by their names; they are computed from the leaves.
    outputs : list of tensor
        Those that the gradient was checked of.
    found : dict of tensor
        All tensors that the function gave, by their names.
    """

    leaves: list[torch.Tensor]
    arguments: dict[str, torch.Tensor]
    outputs: list[torch.Tensor]
    found: dict[str, torch.Tensor]


class Case:
    """A function with inputs at which its gradient was found right, in the dtypes in which they were given.

    Parameters
    ----------
    call : FunctionCall
        Which has looked at the function.
    options : Options
        Their seed is that of cotangents and tangents; their constraints say along what inputs may be moved.

    Attributes
    ----------
    inputs, outputs : list of str
        The names of the tensors that are checked, and of the outputs that have a gradient.
    values : list of tensor
        The numbers of the inputs.
    may_repeat : bool
        Whether backward may be called several times for one call of the function.
    right : list of tensor
        The gradient by each input.
    tolerances : list of float
        By what part of its largest entry each may differ from case to case.
    lost : float
        The size of numbers so small that they are lost.
    is_coarse : bool
        Whether something is computed in no more than 16 bits.

    Raises
    ------
    NotChecked
        If the gradient cannot be found in this way, or has too few digits.
    """

    def __init__(self, call: FunctionCall, options: Options) -> None:
        self.call, self._options = call, options
        self.inputs, self.outputs = list(call.checked), [_name("output", path) for path in call.outputs]
        self.values = call.values
        self._generator, self.may_repeat = torch.Generator().manual_seed(options.seed), True
        try:
            self._recorded = self.record(self.values)
            self._cotangents = [self.random_like(output) for output in self._recorded.outputs]
            self.right = self.gradients(self.recorded, self.cotangents)
            self._sizes = [_largest(right) for right in self.right]
            dtypes = [tensor.dtype for tensor in (*self.values, *self._recorded.outputs)]
            precisions = [call.computed_in, *(precision_of(dtype.to_real()) for dtype in dtypes)]
            self._eps = max(precision.eps for precision in precisions)
            self.lost = max(precision.smallest_subnormal for precision in precisions)
            self.is_coarse = self._eps >= COARSE
            self._times = COARSE_ROUNDINGS if self.is_coarse else ROUNDINGS
            self.tolerances = self._tolerances()
            self._floors = self._least()
        except Raised as error:
            raise NotChecked(str(error)) from None

    @property
    def recorded(self) -> Recorded:
        """A call of the function at the values; the last one, if that was there and can be used again.

        A call puts back what the function has of its own, such as parameters, which autograd takes for a change.
        """
        if not self.may_repeat or self._last is not self._recorded:
            self._recorded = self.record(self.values)
        return self._recorded

    @property
    def cotangents(self) -> list[torch.Tensor]:
        """A random cotangent for each output: the same numbers each time, in new memory."""
        return [cotangent.clone() for cotangent in self._cotangents]

    def random_like(self, tensor: torch.Tensor) -> torch.Tensor:
        """Gives a tensor of random numbers, of the shape, dtype and device of another."""
        dtype = torch.complex128 if tensor.is_complex() else torch.float64
        return torch.randn(tensor.shape, generator=self._generator, dtype=dtype).to(tensor.device, tensor.dtype)

    def tangents(self) -> list[torch.Tensor]:
        """Gives a random tangent for each input, along which it keeps to its constraint."""
        found = [self.random_like(value) for value in self.values]
        if self._options.constraints is None:
            return found
        values, own = (
            pack(arrays_of(dict(zip(self.inputs, tensors, strict=True)))) for tensors in (self.values, found)
        )
        domain = self._options.selected(values).params.domain
        assert domain is not None
        if domain.constrained is not None:
            projected = dict(own.arrays(domain.constrained.project(own.flat)))
            arrays = gradient_by_name(projected, self.inputs, PYTORCH)
            found = [torch.from_numpy(arrays[name]).to(x) for name, x in zip(self.inputs, found, strict=True)]
        return found

    def record(
        self,
        values: Sequence[torch.Tensor],
        requires: Sequence[bool] | None = None,
        twins: tuple[int, int] | None = None,
    ) -> Recorded:
        """Calls the function at some values of the inputs.

        Parameters
        ----------
        values : sequence of tensor
        requires : sequence of bool, optional
            Which of them require a gradient; by default, all.
        twins : tuple of int, optional
            Two inputs for which the function is given one tensor.

        Raises
        ------
        Raised
            If the function raises an error.
        """
        leaves = [value.detach().clone() for value in values]
        for leaf, needs in zip(leaves, requires or [True] * len(leaves), strict=True):
            leaf.requires_grad_(needs)
        if twins:
            leaves[twins[1]] = leaves[twins[0]]
        return self.record_from(leaves)

    def record_from(self, leaves: list[torch.Tensor]) -> Recorded:
        """Calls the function with these leaves; see `record`."""
        with with_gradients(), self.call.frozen() as frozen:
            try:
                arguments, found = self.call.called(leaves, in_double=False)
            except Exception as error:
                raise Raised(error) from error
            if isinstance(frozen, Frozen) and not frozen.is_used_up:
                raise NotChecked("backward draws random numbers")
        outputs = dict(_tensors_in(found, ""))
        given = {
            name: tensor for k, part in enumerate(arguments) for name, tensor in _tensors_in(part, f"inputs[{k}]")
        }  # fmt: skip
        chosen = [outputs[path].to_dense() for path in self.call.outputs]
        found = {_name("output", path): tensor for path, tensor in outputs.items()}
        self._last = Recorded(leaves, given, chosen, found)
        return self._last

    def outputs_in_double(self, values: list[torch.Tensor]) -> list[torch.Tensor]:
        """Gives the outputs that have a gradient, as the function computes them in float64.

        Raises
        ------
        Exception
            What the function raises.
        """
        with torch.no_grad(), self.call.frozen():
            _, found = self.call.called(values, in_double=True)
        outputs = dict(_tensors_in(found, ""))
        return [outputs[path].to_dense() for path in self.call.outputs]

    def gradients(self, recorded: Recorded, cotangents: Sequence[torch.Tensor | None]) -> list[torch.Tensor]:
        """Finds the gradient by each leaf; zeros where there is none.

        Parameters
        ----------
        recorded : Recorded
        cotangents : sequence of tensor or None
            One for each output. None: the output is left out.

        Raises
        ------
        Raised
            If backward raises an error.
        """
        pairs = [
            (output, cotangent) for output, cotangent in zip(recorded.outputs, cotangents, strict=True)
            if cotangent is not None and output.requires_grad
        ]  # fmt: skip
        return self.of_pairs(pairs, recorded.leaves)

    def of_pairs(
        self, pairs: Sequence[tuple[torch.Tensor, torch.Tensor]], leaves: Sequence[torch.Tensor], batched: bool = False
    ) -> list[torch.Tensor]:  # fmt: skip
        """Finds the gradient by each leaf for pairs of an output and its cotangent, or a batch of cotangents."""
        wanted = list({id(leaf): leaf for leaf in leaves if leaf.requires_grad}.values())
        known: dict[int, torch.Tensor | None] = {}
        if pairs and wanted:
            outputs, cotangents = zip(*pairs, strict=True)

            def backward(*given: torch.Tensor) -> tuple[torch.Tensor, ...]:
                found = torch.autograd.grad(outputs, wanted, given, retain_graph=True, allow_unused=True)
                return tuple(torch.zeros_like(x) if g is None else g for x, g in zip(wanted, found, strict=True))

            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # such as that a batch is computed one by one
                    found = torch.vmap(backward)(*cotangents) if batched else backward(*cotangents)
            except Exception as error:
                raise Raised(error) from error
            known = {id(leaf): grad for leaf, grad in zip(wanted, found, strict=True)}
        lead = pairs[0][1].shape[:1] if batched else ()
        return [_dense(known.get(id(leaf)), leaf, lead) for leaf in leaves]

    def difference(
        self, found: Sequence[torch.Tensor], right: Sequence[torch.Tensor], some: Sequence[int] | None = None
    ) -> str:  # fmt: skip
        """Says where gradients by the inputs, or by some of them, are not the right ones; "" if they are."""
        for k in range(len(self.inputs)) if some is None else some:
            off = (found[k] - right[k]).abs()
            off[~torch.isfinite(right[k])] = 0.0
            if not off.numel():
                continue
            off[~torch.isfinite(off)] = torch.inf
            worst = int(off.argmax())
            if float(off.flatten()[worst]) > self.allowed(k, _largest(right[k])):
                index = tuple(int(i) for i in torch.unravel_index(torch.tensor(worst), off.shape))
                own, expected = found[k].flatten()[worst].item(), right[k].flatten()[worst].item()
                return f"{self.inputs[k]}{format_index(index)} has {own:.6g} in place of {expected:.6g}"
        return ""

    def allowed(self, k: int, size: float = 0.0) -> float:
        """By how much an entry of the gradient by input k may differ, if the largest is of this size."""
        return self.tolerances[k] * max(size, self._sizes[k]) + self._floors[k] + self._times * self.lost

    def least(self, k: int) -> float:
        """The size up to which an entry of the gradient by input k may be nothing but rounding, where all are zero."""
        return self._floors[k]

    def _least(self) -> list[float]:
        """Finds what a gradient may consist of where no output depends on an input, but for roundings, and it is zero.

        The product with the outputs, and the gradient by another input times that, are what is rounded. A gradient that
        is not zero has a tolerance by which it is told from rounding.
        """
        pairs = (zip(self._recorded.outputs, self._cotangents, strict=True), zip(self.values, self.right, strict=True))
        terms = max(sum(_norm(a.detach() * b) for a, b in part) for part in pairs)
        least = self._times * self._eps * terms
        return [
            0.0 if size else least / (_largest(value) or 1.0)
            for value, size in zip(self.values, self._sizes, strict=True)
        ]

    def _tolerances(self) -> list[float]:
        """Finds by what part of its size the gradient by each input may differ; infinity where roundings hide it.

        The inputs are moved by roundings, and so is the cotangent.
        """
        eps, found = self._eps, []
        moved = self.record([self._jittered(value, eps) for value in self.values])
        again = self.gradients(moved, [self._jittered(cotangent, eps) for cotangent in self.cotangents])
        for own, right, size in zip(again, self.right, self._sizes, strict=True):
            noise = _largest(own - right) / size if size else 0.0
            found.append(self._times * (eps + noise) if noise <= MOST_NOISE else torch.inf)
        if torch.inf in found and len(set(found)) == 1:
            raise NotChecked("roundings of the inputs change the gradient too much")
        return found

    def _jittered(self, tensor: torch.Tensor, eps: float) -> torch.Tensor:
        signs = torch.randint(0, 2, tensor.shape, generator=self._generator).to(tensor.device) * 2 - 1
        return (tensor * (1.0 + eps * signs)).to(tensor.dtype)


def _largest(tensor: torch.Tensor) -> float:
    """Gives the largest size of the finite numbers of a tensor; 0 if there are none."""
    sizes = tensor.abs().double()
    sizes = sizes[torch.isfinite(sizes)]
    return float(sizes.max()) if sizes.numel() else 0.0


def _norm(tensor: torch.Tensor) -> float:
    sizes = tensor.abs().double()
    return float(sizes[torch.isfinite(sizes)].norm())


def _dense(grad: torch.Tensor | None, leaf: torch.Tensor, lead: Sequence[int]) -> torch.Tensor:
    if grad is None:
        return torch.zeros((*lead, *leaf.shape), dtype=leaf.dtype, device=leaf.device)
    return grad.detach().to_dense()


def _tensors_in(tree: Any, name: str) -> list[tuple[str, torch.Tensor]]:
    return [(path, leaf) for path, leaf in walk(tree, name) if isinstance(leaf, torch.Tensor)]


def _name(what: str, path: str) -> str:
    """Names a part of a tree as reports do."""
    return f"{what}{path if not path or path.startswith('[') else '.' + path}"
