"""The loss of a JAX function of a pytree, as one of arrays by name, and its gradient."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from math import isclose
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax import numpy as jnp

from gradcheck_fast.adapters.common import Arrays, require_same_gradient, same_loss
from gradcheck_fast.adapters.jax_leaves import Leaves, as_numpy, explicit_x64_dtypes, float64, float64_where_asked_for
from gradcheck_fast.checks.as_problem import PLAIN
from gradcheck_fast.checks.one_precision import METHODS
from gradcheck_fast.frontends.jaxpr.compiled import compiled_once
from gradcheck_fast.frontends.jaxpr.jaxpr_loss import jaxpr_loss, jaxpr_of
from gradcheck_fast.frontends.numpy_trace.recording import Untraceable
from gradcheck_fast.frontends.numpy_trace.traced_loss import Disagreement, users_line
from gradcheck_fast.inputs.arrays import coarsest, require_float64
from gradcheck_fast.inputs.random_numbers import generator
from gradcheck_fast.inputs.trees import pack, pack_as
from gradcheck_fast.losses.function_loss import FunctionLoss, python_loss

if TYPE_CHECKING:
    from gradcheck_fast.checks.options import Options
    from gradcheck_fast.inputs.arrays import Precision
    from gradcheck_fast.inputs.trees import Packed

#: The loss compiled as one has the value that it has otherwise, to this part of it, at the parameters and where each is
#: moved by that part.
SAME_COMPILED, MOVED = 1e-12, 2.0**-10


class ArrayLoss:
    """A loss of a pytree as a loss of a dict: the arrays of floating-point numbers in the pytree, by name.

    A complex array is two there, and the gradient has the derivatives by both; see `Leaves`.
    """

    def __init__(self, loss: Callable[[Any], Any], params: Any) -> None:
        self._loss = loss
        self.leaves = Leaves(params)
        self.params = self.leaves.params
        self.params_in_double = {name: array.astype(np.float64) for name, array in self.params.items()}
        self._doubles: Callable[[], AbstractContextManager[None]] = float64
        self._compiled: Callable[..., Any] | None = None
        if not self.params:
            raise ValueError("params: expected a pytree with arrays of floating-point numbers, got none of them")

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_compiled": None}  # what is compiled stays in its process

    def is_of_one_precision(self, options: Options) -> bool:
        """Whether the loss refuses float64, or gives coarser numbers, though it computes in its own dtypes."""
        if not coarsest(self.leaves.precisions).is_coarse or options.method not in METHODS:
            return False
        self._value(self.params)
        try:
            self.loss(self.params_in_double)
        except Exception:
            return True
        return False

    @property
    def grids(self) -> dict[str, Precision]:
        """The precision of each array, by name."""
        return dict(zip(self.params, self.leaves.precisions, strict=True))

    def own_value(self, arrays: Arrays) -> Any:
        """Gives the loss in the dtypes of the arrays, be they those of the parameters or float64."""
        if any(array.dtype == np.float64 for array in arrays.values()):
            with self._doubles():
                return self._value(arrays)
        return self._value(arrays)

    def packed(self, gradient: Arrays) -> Arrays | Packed:
        """Returns a gradient with the precision of its dtypes, where these are none of NumPy's."""
        if self.leaves.has_names_of_its_own:
            return gradient
        shapes = {name: array.shape for name, array in self.params.items()}
        found = pack_as(gradient, shapes, "gradient", finite=False, gradient=True)
        return replace(found, computed_in=coarsest((found.computed_in, *self.leaves.precisions)))

    def choose_doubles(self) -> tuple[str, ...]:
        """Chooses a way of computing in float64 that leaves the loss the same, and gives a note if it is the second.

        If neither does, the first is taken.
        """
        if explicit_x64_dtypes is None or self._is_same():
            return ()
        self._doubles = float64_where_asked_for
        try:
            if self._is_same():
                return ("only the parameters are float64: where all is, the loss draws other random numbers",)
        except Exception:  # the loss may not be able to mix float32 and float64
            pass
        self._doubles = float64
        return ()

    def choose_problem(self, options: Options) -> tuple[FunctionLoss, tuple[str, ...]]:
        """Returns the program that the loss becomes, or the loss itself; see `program_or_plain`."""
        plain, params = python_loss(self.loss), options.selected(pack(self.params_in_double)).params
        return program_or_plain(self._jaxpr(params), plain, self.loss, params, self._doubles, options)

    def _jaxpr(self, params: Packed) -> Any:
        """Returns the jaxpr of the loss, or what the loss raises while it is traced.

        If JAX would compile parts of the loss at each call, and the whole of it compiled at once has the same values,
        that is called from now on.
        """
        try:
            jaxpr = jaxpr_of(lambda arrays: as_scalar(self._loss(self.leaves.tree(arrays))), params, self._doubles)
        except Exception as error:
            return error
        compiled = compiled_once(jaxpr)
        if compiled is not None:
            rng = generator(0)
            moved = {name: x * (1.0 + MOVED * rng.normal(size=x.shape)) for name, x in self.params_in_double.items()}
            if params.domain is not None:
                moved = params.unpack(params.domain.into(pack(moved).flat, params.flat))
            points = (self.params_in_double, moved)
            expected = [self.loss(arrays) for arrays in points]
            self._compiled = compiled
            values = [self.loss(arrays) for arrays in points]
            if not all(isclose(a, b, rel_tol=SAME_COMPILED) for a, b in zip(values, expected, strict=True)):
                self._compiled = None
        return jaxpr

    def require_same_loss(self) -> None:
        """Raises a ValueError if the loss in float64 differs from that in its own dtypes by more than roundings."""
        if self._is_same():
            return
        values = self._value(self.params), self.loss(self.params_in_double)
        gradients = self.gradient(self.params), self.gradient_in_double(self.gradient)
        require_same_gradient(values, gradients, self._eps, "jax.enable_x64(True) and parameters of float64")

    @property
    def _eps(self) -> float:
        return coarsest(self.leaves.precisions).eps

    def _is_same(self) -> bool:
        if jax.config.jax_enable_x64 and all(array.dtype == np.float64 for array in self.params.values()):
            return True  # nothing is computed in another dtype
        own, in_double = float(self._value(self.params)), self.loss(self.params_in_double)
        return same_loss(own, in_double, self._eps, self._value, self.params)

    def loss(self, arrays: Arrays) -> Any:
        """Gives the loss in float64."""
        with self._doubles():
            if self._compiled is None:
                value = self._value(arrays)
            else:
                value = np.asarray(self._compiled(*self.leaves.as_jax(arrays).values()))
        require_float64("loss", np.asarray(value).dtype)
        return value.item()

    def gradient_in_double(self, find: Callable[[Arrays], Arrays]) -> Arrays:
        """Calls `find`, which gives the gradient, with the parameters in float64."""
        with self._doubles():
            return find(self.params_in_double)

    def _value(self, arrays: Arrays) -> Any:
        return np.asarray(as_scalar(self._loss(self.leaves.tree(arrays))))

    def gradient(self, arrays: Arrays) -> Arrays:
        """Finds the gradient by ``jax.grad``."""

        def value(arrays: Arrays) -> Any:
            found = as_scalar(self._loss(self.leaves.tree(arrays)))
            if jnp.iscomplexobj(found):
                raise TypeError(
                    f"loss: expected it to give one real number, got {found.dtype}; is the real part meant?"
                )
            return found

        found = jax.grad(value)(self.leaves.as_jax(arrays))
        return {name: as_numpy(array) for name, array in found.items()}


def program_or_plain(
    jaxpr: Any, plain: FunctionLoss, cost: Callable[[Arrays], float], params: Packed,
    doubles: Callable[[], AbstractContextManager[None]], options: Options,
) -> tuple[FunctionLoss, tuple[str, ...]]:  # fmt: skip
    """Returns the program that a loss becomes; if there is none, the loss itself, with a note that says why.

    Beside it is what the report has to say of it.

    Parameters
    ----------
    jaxpr : ClosedJaxpr, or Exception
        That of the loss, or what it raises while JAX traces it.
    plain : FunctionLoss
        The loss itself.
    cost : callable
        Its value in float64.
    params : Packed
    doubles : callable
        Makes the context in which JAX computes in float64.
    options : Options

    Raises
    ------
    ValueError
        If the method needs the program.
    """
    if not options.trace or options.method in PLAIN or options.step is not None:
        return plain, ()
    try:
        if isinstance(jaxpr, Exception):
            raise jaxpr
        found = jaxpr_loss(jaxpr, cost, params, doubles)
    except Exception as error:  # what the loss itself raises is raised when it is called as usual
        said = str(error)
        if not isinstance(error, (Untraceable, Disagreement)):
            said = f"{users_line(error)}{type(error).__name__} was raised: {said.partition(chr(10))[0]}"
        if options.method in ("chain", "incremental"):
            raise ValueError(f"method: {options.method!r} needs the program of the loss, but {said}") from None
        plain.notes = (f"differenced as a Python function: {said}",)
        return plain, ()
    if not found.stopped:
        return found.loss, ()
    lines = ", ".join(str(source) for source in found.stopped if any(source))
    said = f"what jax.lax.stop_gradient returns is held fixed{f' ({lines})' if lines else ''}"
    estimator = "a straight-through estimator is checked as the function that jax.grad differentiates"
    return found.loss, (f"{said}; {estimator}",)


def as_scalar(value: Any) -> Any:
    """Returns a loss, while it is traced or not, without axes.

    Raises
    ------
    TypeError
        If it is not one number.
    """
    if isinstance(value, (tuple, list, dict)):
        advice = "; without what it returns besides: loss=lambda params: loss(params)[0]"
        raise TypeError(
            f"loss: expected it to give one real number, got a {type(value).__name__} of {len(value)}"
            f"{advice * isinstance(value, tuple)}"
        )
    if np.size(value) != 1:
        raise TypeError(f"loss: expected it to give one real number, got the shape {np.shape(value)}")
    return jnp.reshape(value, ())
