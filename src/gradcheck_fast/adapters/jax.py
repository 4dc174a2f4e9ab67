"""Checks of the gradients of JAX functions of pytrees, which ``jax.grad`` or a function of the user finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import is_dataclass, replace
from math import isclose
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax import numpy as jnp
from jax.tree_util import keystr, tree_flatten_with_path, tree_unflatten

from gradcheck_fast.adapters.common import Arrays, require_same_gradient, same_loss
from gradcheck_fast.checks.as_problem import PLAIN
from gradcheck_fast.checks.gradcheck import check_gradient
from gradcheck_fast.checks.options import AllKeywords, Options
from gradcheck_fast.frontends.jaxpr.compiled import compiled_once
from gradcheck_fast.frontends.jaxpr.jaxpr_loss import jaxpr_loss, jaxpr_of
from gradcheck_fast.frontends.numpy_trace.recording import Untraceable
from gradcheck_fast.frontends.numpy_trace.traced_loss import Disagreement, users_line
from gradcheck_fast.inputs.arrays import Precision, coarsest, require_float64
from gradcheck_fast.inputs.trees import pack, pack_as
from gradcheck_fast.losses.function_loss import FunctionLoss, python_loss
from gradcheck_fast.losses.rounded_gradient import RoundedGradient

try:
    from jax import enable_x64
except ImportError:  # older versions
    from jax.experimental import enable_x64

try:  # float64 where it is asked for, float32 elsewhere; there is no public context for that yet
    from jax._src.config import explicit_x64_dtypes
except ImportError:  # older versions
    explicit_x64_dtypes = None

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from gradcheck_fast.inputs.trees import Packed
    from gradcheck_fast.report.report import Report

#: The loss compiled as one has the value that it has otherwise, to this part of it, at the parameters and where each is
#: moved by that part.
SAME_COMPILED, MOVED = 1e-12, 2.0**-10


def gradcheck(
    loss: Callable[[Any], Any],
    params: Any,
    gradient: Any = None,
    **options: Unpack[AllKeywords],
) -> Report:
    """Checks the gradient of a JAX function of a pytree, entry by entry.

    The jaxpr of the loss is written down step by step, with the lines that its equations come from, as
    `gradcheck_fast.gradcheck` does with NumPy functions: ``jit``, ``scan``, ``cond``, ``while_loop``, ``checkpoint``
    and what `jax.custom_vjp` and `jax.custom_jvp` compute included. A primitive that is not known is differenced by
    itself, and a note names it. If all that is not possible, as where the loss branches in Python on a value, a note
    says why, and the function is differenced as it is. What `jax.lax.stop_gradient` returns is held fixed, as
    ``jax.grad`` does, and a note says so. ``docs/jax-primitives.md`` lists the primitives that are known.

    The loss is evaluated in float64, under ``jax.enable_x64``, and the gradient in the dtypes of `params`. In float64,
    `jax.random` draws other numbers. If that makes another loss of it, only the parameters and what is computed from
    them are of float64, and random numbers stay of float32. A note of the report says so.

    Parameters
    ----------
    loss : callable
        ``loss(params)`` gives one real number. It must compute in the dtypes that it is given.
    params : pytree
        A pytree of arrays: dicts, lists, tuples, named tuples, registered dataclasses. A leaf that is not of
        floating-point numbers, such as an activation function, stays as it is, and is not checked.
    gradient : pytree or callable, optional
        A pytree like `params`, or a function of `params` that gives one. The default is ``jax.grad(loss)``: the check
        is then one of the rules of `jax.custom_vjp` and `jax.custom_jvp`.
    **options
        As for `gradcheck_fast.gradcheck`: method, step, rtol, atol, n_threads, progress, error_bars, executor,
        checkpoint, sample, seed, trace. With ``trace=False``, ``method="direct"`` or "complex", or a `step`, the
        function is differenced as it is.

    Returns
    -------
    Report
        It names arrays by their paths, as `jax.tree_util.keystr` writes them: ``['dense'].weights[0]``.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; the message names it. Or if the gradient looks wrong, and the loss is another one
        in float64.
    """
    if not callable(loss):
        raise TypeError(f"loss: expected a function of the parameters, got {loss!r}")
    settings = Options.from_keywords("gradcheck", options, AllKeywords)
    by_arrays = _ArrayLoss(loss, params)
    if gradient is None:
        find = by_arrays.gradient
    elif callable(gradient) and not by_arrays.is_like_params(gradient):
        find = lambda arrays: by_arrays.by_name(gradient(by_arrays.tree(arrays)))
    else:
        find = lambda arrays: by_arrays.by_name(gradient)
    found = by_arrays.packed(find(by_arrays.params))
    notes = by_arrays.choose_doubles()
    chosen, held = by_arrays.choose_problem(settings)
    problem = RoundedGradient(chosen, found, lambda: by_arrays.gradient_in_double(find))
    report = check_gradient(problem, found, by_arrays.params, settings)
    if not report.ok:
        by_arrays.require_same_loss()
    return replace(report, notes=(*report.notes, *notes, *held))


@contextmanager
def _float64() -> Iterator[None]:
    """Lets everything be computed in float64."""
    with enable_x64(True):
        yield


@contextmanager
def _float64_where_asked_for() -> Iterator[None]:
    """Lets arrays of float64, and what is computed from them, be float64. What names no dtype is float32."""
    with enable_x64(False), explicit_x64_dtypes("allow"):
        yield


class _ArrayLoss:
    """A loss of a pytree as a loss of a dict: the arrays of floating-point numbers in the pytree, by name."""

    def __init__(self, loss: Callable[[Any], Any], params: Any) -> None:
        self._loss = loss
        leaves, self._structure = tree_flatten_with_path(params)
        self._leaves = {keystr(path) or "params": leaf for path, leaf in leaves}
        arrays = {name: _as_array(name, leaf) for name, leaf in self._leaves.items()}
        self._own = {name: a for name, a in arrays.items() if a is not None and jnp.issubdtype(a.dtype, jnp.floating)}
        self.params = {name: _as_numpy(array) for name, array in self._own.items()}
        self.params_in_double = {name: array.astype(np.float64) for name, array in self.params.items()}
        self._doubles: Callable[[], AbstractContextManager[None]] = _float64
        self._compiled: Callable[..., Any] | None = None
        if not self.params:
            raise ValueError("params: expected a pytree with arrays of floating-point numbers, got none of them")

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_compiled": None}  # what is compiled stays in its process

    def packed(self, gradient: Arrays) -> Arrays | Packed:
        """Returns a gradient with the precision of its dtypes, where these are none of NumPy's."""
        if all(array.dtype == self.params[name].dtype for name, array in self._own.items()):
            return gradient
        shapes = {name: array.shape for name, array in self.params.items()}
        found = pack_as(gradient, shapes, "gradient", finite=False, gradient=True)
        return replace(found, computed_in=coarsest((found.computed_in, *self._precisions())))

    def choose_doubles(self) -> tuple[str, ...]:
        """Chooses a way of computing in float64 that leaves the loss the same, and gives a note if it is the second.

        If neither does, the first is taken.
        """
        if explicit_x64_dtypes is None or self._is_same():
            return ()
        self._doubles = _float64_where_asked_for
        try:
            if self._is_same():
                return ("only the parameters are float64: where all is, the loss draws other random numbers",)
        except Exception:  # the loss may not be able to mix float32 and float64
            pass
        self._doubles = _float64
        return ()

    def choose_problem(self, options: Options) -> tuple[FunctionLoss, tuple[str, ...]]:
        """Returns the program that the loss becomes; if there is none, the loss itself, with a note that says why.

        Beside it is what the report has to say of it.

        Raises
        ------
        ValueError
            If the method needs the program.
        """
        plain, params = python_loss(self.loss), pack(self.params_in_double)
        jaxpr, raised = self._jaxpr(params)
        if not options.trace or options.method in PLAIN or options.step is not None:
            return plain, ()
        try:
            if raised is not None:
                raise raised
            found = jaxpr_loss(jaxpr, self.loss, params, self._doubles)
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
        return found.loss, (f"what jax.lax.stop_gradient returns is held fixed{f' ({lines})' if lines else ''}",)

    def _jaxpr(self, params: Packed) -> tuple[Any, Exception | None]:
        """Returns the jaxpr of the loss, or what the loss raises while it is traced.

        If JAX would compile parts of the loss at each call, and the whole of it compiled at once has the same values,
        that is called from now on.
        """
        try:
            jaxpr = jaxpr_of(lambda arrays: _as_scalar(self._loss(self.tree(arrays))), params, self._doubles)
        except Exception as error:
            return None, error
        compiled = compiled_once(jaxpr)
        if compiled is not None:
            rng = np.random.default_rng(0)
            moved = {name: x * (1.0 + MOVED * rng.normal(size=x.shape)) for name, x in self.params_in_double.items()}
            points = (self.params_in_double, moved)
            expected = [self.loss(arrays) for arrays in points]
            self._compiled = compiled
            values = [self.loss(arrays) for arrays in points]
            if not all(isclose(a, b, rel_tol=SAME_COMPILED) for a, b in zip(values, expected, strict=True)):
                self._compiled = None
        return jaxpr, None

    def require_same_loss(self) -> None:
        """Raises a ValueError if the loss in float64 differs from that in its own dtypes by more than roundings."""
        if self._is_same():
            return
        values = self._value(self.params), self.loss(self.params_in_double)
        gradients = self.gradient(self.params), self.gradient_in_double(self.gradient)
        require_same_gradient(values, gradients, self._eps, "jax.enable_x64(True) and parameters of float64")

    @property
    def _eps(self) -> float:
        return coarsest(self._precisions()).eps

    def _precisions(self) -> list[Precision]:
        return [_precision(array.dtype) for array in self._own.values()]

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
                value = np.asarray(self._compiled(*self._as_jax(arrays).values()))
        require_float64("loss", np.asarray(value).dtype)
        return value.item()

    def gradient_in_double(self, find: Callable[[Arrays], Arrays]) -> Arrays:
        """Calls `find`, which gives the gradient, with the parameters in float64."""
        with self._doubles():
            return find(self.params_in_double)

    def _value(self, arrays: Arrays) -> Any:
        return np.asarray(_as_scalar(self._loss(self.tree(arrays))))

    def gradient(self, arrays: Arrays) -> Arrays:
        """Finds the gradient by ``jax.grad``."""
        found = jax.grad(lambda params: _as_scalar(self._loss(self.tree(params))))(self._as_jax(arrays))
        return {name: _as_numpy(array) for name, array in found.items()}

    def tree(self, arrays: Arrays) -> Any:
        """Makes a pytree of these arrays, which become JAX's, and of the leaves that are not checked."""
        own = self._as_jax(arrays)
        return tree_unflatten(self._structure, [own.get(name, leaf) for name, leaf in self._leaves.items()])

    def is_like_params(self, tree: Any) -> bool:
        """Whether a pytree has arrays where the parameters have them. Trees of equinox's modules can be called."""
        return any(keystr(path) in self.params for path, _ in tree_flatten_with_path(tree)[0])

    def by_name(self, gradient: Any) -> Arrays:
        """Gives the arrays of a gradient by name, without those of leaves that are not checked."""
        named = ((keystr(path) or "params", leaf) for path, leaf in tree_flatten_with_path(gradient)[0])
        return {name: _as_numpy(leaf) for name, leaf in named if name in self.params or name not in self._leaves}

    def _as_jax(self, arrays: Arrays) -> Arrays:
        """Makes JAX's arrays of these, of the same dtypes as far as JAX has them enabled."""
        return {
            name: jnp.asarray(x, self._own[name].dtype if x.dtype == self.params[name].dtype else x.dtype)
            for name, x in arrays.items()
        }


def _as_array(name: str, leaf: Any) -> Any:
    """Returns a leaf as an array; None if it is something else, such as an activation function.

    Raises
    ------
    TypeError
        If it is a dataclass, whose arrays JAX does not see.
    """
    if is_dataclass(leaf) and not isinstance(leaf, type):
        kind = type(leaf).__name__
        raise TypeError(
            f"params: {name} is a {kind}, which is no pytree of JAX's; jax.tree_util.register_dataclass({kind}) makes "
            "it one"
        )
    try:
        return jnp.asarray(leaf)
    except TypeError:
        return None


def _as_numpy(array: Any) -> Any:
    """Returns an array of NumPy's; numbers of a dtype such as bfloat16, which NumPy does not have, are float32."""
    found = np.asarray(array)
    return found.astype(np.float32) if jnp.issubdtype(found.dtype, jnp.floating) and found.dtype.kind != "f" else found


def _precision(dtype: Any) -> Precision:
    info = jnp.finfo(dtype)
    return Precision(str(info.dtype), *(float(x) for x in (info.eps, info.tiny, info.smallest_subnormal)))


def _as_scalar(value: Any) -> Any:
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
