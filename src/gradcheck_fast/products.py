"""check_vjp() and check_jvp(): the derivatives of functions with several results, in random directions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ._compare import root_mean_square
from .arrays import digest, require_float64
from .check import CommonOptions, SharedOptions, gradcheck
from .differences import PLAIN_STEP, SMALLER_STEP, Numerical, Refined, find_kinks, jitter, may_be_kinks
from .evaluate import Unnoticed, writes
from .functions import python_loss, require_one_of
from .names import integer
from .noise import noise_around
from .rounded import RoundedGradient
from .steps import THOROUGH, Level, refine
from .trees import Packed, Tree, cast, pack, pack_as, walk

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from typing_extensions import Unpack

    from .report import Report

#: Trees by name.
Trees: TypeAlias = dict[str, Tree]


def check_vjp(
    f: Callable[..., Tree],
    vjp: Callable[..., Any],
    inputs: Any,
    *,
    directions: int = 1,
    seed: int = 0,
    **options: Unpack[SharedOptions],
) -> Report:
    """Checks a vector-Jacobian product, the backward pass of a function, for random cotangents.

    For a cotangent v the gradient of ``<v, f(*inputs)>`` is ``vjp(v, *inputs)``: every entry of it is checked.

    Parameters
    ----------
    f : callable
        ``f(*inputs)`` gives an array, or a tree of arrays. It is called with float64 arrays, and must compute in
        float64.
    vjp : callable
        ``vjp(cotangent, *inputs)`` gives one gradient for each input, as a tuple; for `inputs` that are no tuple, the
        gradient itself. The cotangent has the form and dtypes of ``f(*inputs)``.
    inputs : tuple, or tree of arrays
        The arguments. Each is a tree of floating-point arrays; or of anything else, such as indices, to which nothing
        is done, and whose gradient may be None. What is no tuple is the only argument.
    directions : int
        How many cotangents are tried, one after another, until one fails.
    seed : int
        Of the random numbers.
    **options
        As for `gradcheck`: method, step, rtol, atol, error_bars, sample, n_threads, progress, executor. Each cotangent
        is a loss of its own, so there is no checkpoint.

    Returns
    -------
    Report
        Of the first cotangent for which an entry is not right, or of the last. The arrays are ``inputs[0]`` and so on.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit, or what `f` or `vjp` gives; the message names it. Nothing has been changed then.
    """
    _require_known("check_vjp", options, SharedOptions)
    function = _Function(f, inputs)
    _require_callable("vjp", vjp)

    def gradient(cotangent: Tree, params: Trees) -> Trees:
        return function.by_name("vjp", function.call("vjp", vjp, params, cotangent["output"]))

    def check(rng: np.random.Generator) -> Report:
        cotangent = cast(function.own.unpack(rng.standard_normal(function.own.flat.size)), function.own_outputs)
        v = pack(cotangent).flat
        own = gradient(cotangent, function.params)
        in_double = lambda: gradient(function.own.unpack(v), function.in_double)
        problem = RoundedGradient(python_loss(lambda params: v @ function.flat(params)), own, in_double)
        return gradcheck(problem, own, function.params, seed=seed, **options)

    return _first_failing(check, function, directions, seed)


def check_jvp(
    f: Callable[..., Tree],
    jvp: Callable[..., Tree],
    inputs: Any,
    *,
    directions: int = 1,
    seed: int = 0,
    **options: Unpack[CommonOptions],
) -> Report:
    """Checks a Jacobian-vector product, the forward-mode derivative of a function, for random tangents.

    For a tangent t it is compared with ``(f(x + h t) - f(x - h t)) / 2h``, in every entry of the output.

    Parameters
    ----------
    f, inputs, directions, seed
        As for `check_vjp`.
    **options
        As for `gradcheck`: method, step, rtol, atol, error_bars, sample. It takes a few calls of `f`; some tens where
        the step along the tangent must be chosen, or the noise of `f` is to be known.
    jvp : callable
        ``jvp(tangents, *inputs)`` gives an array, or a tree of arrays, of the form of ``f(*inputs)``. `tangents` is a
        tuple with a tangent for each input, None for one that is no tree of floating-point arrays; for `inputs` that
        are no tuple, it is the tangent itself.

    Returns
    -------
    Report
        Of the first tangent for which an entry is not right, or of the last. The arrays are ``output``, or
        ``output[0]`` and so on.

    Raises
    ------
    TypeError, ValueError
        As `check_vjp`.
    """
    _require_known("check_jvp", options, CommonOptions)
    function = _Function(f, inputs)
    _require_callable("jvp", jvp)

    def tangent(tangents: Trees, params: Trees) -> Trees:
        return {"output": function.call("jvp", jvp, params, function.as_given(tangents))}

    def check(rng: np.random.Generator) -> Report:
        at = function.at
        direction = rng.standard_normal(at.flat.size) * np.maximum(1.0, np.abs(at.flat))
        tangents = cast(at.unpack(direction), function.params)
        t = pack(tangents).flat
        own = tangent(tangents, function.params)
        in_double = lambda: tangent(at.unpack(t), function.in_double)
        problem = RoundedGradient(_Along(function, t), own, in_double)
        report = gradcheck(problem, own, function.outputs.unpack(function.outputs.flat), seed=seed, **options)
        return replace(report, step=report.step or PLAIN_STEP)

    return _first_failing(check, function, directions, seed)


def _require_known(what: str, options: Mapping[str, Any], known: type) -> None:
    for name in options:
        if name not in known.__annotations__:
            raise TypeError(f"{what}: it has no option {name!r}; its options are {', '.join(known.__annotations__)}")


def _first_failing(
    check: Callable[[np.random.Generator], Report], function: _Function, directions: int, seed: int
) -> Report:
    rng = np.random.default_rng(seed)
    for _ in range(integer("directions", directions, positive=True)):
        report = check(rng)
        if not report.ok:
            break
    return replace(report, notes=(*report.notes, *map(writes, function.writers)))


class _Function:
    """A function with its arguments: those of floating-point numbers are its parameters, the others stay.

    Attributes
    ----------
    params, in_double : dict
        The parameters, by the names that reports give them; as they are given, and in float64.
    at : Packed
        The parameters.
    own_outputs : dict
        What the function gives, called ``output``; and `own`, the same packed.
    outputs : Packed
        What it gives where the parameters are in float64.
    writers : list of str
        Which of the functions that were called write into their arguments.
    """

    def __init__(self, f: Callable[..., Tree], inputs: Any) -> None:
        _require_callable("f", f)
        self._f = f
        self._looked_at: set[str] = set()
        self.writers: list[str] = []
        self._many = isinstance(inputs, tuple)
        given = deepcopy(inputs if self._many else (inputs,))
        names = [f"inputs[{k}]" for k in range(len(given))] if self._many else ["inputs"]
        self._given: Trees = dict(zip(names, given, strict=True))
        self.params: Trees = {name: tree for name, tree in self._given.items() if _is_floating(name, tree)}
        if not self.params:
            raise ValueError("inputs: none is an array of floating-point numbers, so there is nothing to perturb")
        self.at = pack(self.params, "f")
        self.in_double: Trees = self.at.unpack(self.at.flat)
        self.own_outputs = self._call(self.params)
        self.own = pack(self.own_outputs, "f")
        self.outputs = pack(self._call(self.in_double), "f")
        for name, dtype in self.outputs.dtypes.items():
            require_float64(f"f: {name}", dtype)
        if (self.flat(self.in_double) != self.outputs.flat).any():
            raise ValueError("f: gives other numbers each time; without what is random in it, it can be checked")

    def flat(self, params: Trees) -> NDArray[np.float64]:
        """All outputs in one vector."""
        return pack_as(self._call(params), self.outputs.shapes, "f", finite=False).flat

    def call(self, what: str, function: Callable[..., Any], params: Trees, *first: Any) -> Any:
        """What a function gives for copies of the arguments with these parameters, and of what comes `first`.

        Whether it writes into them is looked at the first time.
        """
        given = [*first, *(params.get(name, tree) for name, tree in self._given.items())]
        arguments = deepcopy(given)
        found = function(*arguments)
        if what not in self._looked_at:
            self._looked_at.add(what)
            before, after = ([leaf for _, leaf in walk(tree)] for tree in (given, arguments))
            if len(before) != len(after) or any(map(_differ, before, after)):
                self.writers.append(what)
        return found

    def by_name(self, what: str, given: Any) -> Trees:
        """What is `given` for each argument, by the names of the parameters."""
        if not self._many:
            return {"inputs": given}
        if not isinstance(given, (tuple, list)) or len(given) != len(self._given):
            got = f"{len(given)}" if isinstance(given, (tuple, list)) else f"a {type(given).__name__}"
            raise ValueError(f"{what}: expected a tuple of {len(self._given)}, one for each input, got {got}")
        return {name: tree for name, tree in zip(self._given, given, strict=True) if name in self.params}

    def as_given(self, params: Trees) -> Any:
        """One for each argument, as the arguments are given; the inverse of `by_name`."""
        trees = tuple(params.get(name) for name in self._given)
        return trees if self._many else trees[0]

    def _call(self, params: Trees) -> Trees:
        return {"output": self.call("f", self._f, params)}


class _Along:
    """A function's outputs, differenced along one direction: for `gradcheck`, they are the parameters."""

    methods = ("direct",)

    def __init__(self, function: _Function, direction: NDArray[np.float64]) -> None:
        self._function, self._direction = function, direction

    def pack(self, params: Tree) -> Packed:
        return pack(params)

    def cost(self, params: Packed, theta: NDArray[np.float64], n_threads: int | None = None) -> float:
        raise ValueError("f: it is checked along one direction as it is; there is no cost of which to take others")

    def costs_at(self, params: Packed, n_threads: int) -> Unnoticed:
        return Unnoticed(partial(self.cost, params))

    def fingerprint(self, params: Packed) -> str:
        return digest(self._function.at.flat, params.flat, self._direction)

    def faster(self, method: str, seconds: float, entries: NDArray[np.intp] | None = None) -> str:
        return "it is two calls of f"

    def central_differences(
        self, params: Packed, *, method: str, step: float | None, kinks: bool = False,
        entries: NDArray[np.intp] | None = None, **_: Any,
    ) -> Numerical:  # fmt: skip
        require_one_of(self.methods, method)
        h, here, theta = PLAIN_STEP if step is None else step, params.flat, self._function.at.flat
        with np.errstate(invalid="ignore", over="ignore"):
            plus, minus = self._values(theta, h)
            gradient = (plus - minus) / (2.0 * h)
            largest = np.maximum(np.maximum(np.abs(plus), np.abs(minus)), np.abs(here))
            met = None
            if kinks:
                slopes = (plus - here) / h, (here - minus) / h
                near = h / SMALLER_STEP
                plus, minus = self._values(theta, near)
                looked = np.where(may_be_kinks(*slopes, largest / (2.0 * near)), 1.0, np.nan)
                met = find_kinks(gradient, slopes, (looked * (plus - here) / near, looked * (here - minus) / near))

        def again(times: float) -> NDArray[np.float64]:
            with np.errstate(invalid="ignore", over="ignore"):
                plus, minus = self._values(jitter(theta), times * h)
                found: NDArray[np.float64] = (plus - minus) / (2.0 * times * h)
            return found

        found = Numerical(
            gradient, "direct", False, step, again, lambda: largest / (2.0 * h), kinks=met,
            refine=self._refined if step is None else None,
        )  # fmt: skip
        return found if entries is None else found.of(entries)

    def _refined(self, some: NDArray[np.intp], enough: NDArray[np.float64]) -> Refined:
        """Some outputs with the steps that suit them: along the direction there is one parameter, which is 0."""
        theta = self._function.at.flat

        def pairs(outputs: NDArray[np.intp], h: NDArray[np.float64]) -> NDArray[np.float64]:
            found = np.empty((3, len(outputs)))
            for step in np.unique(h):
                own = h == step
                plus, minus = self._values(theta, step)
                found[:, own] = plus[some[outputs[own]]], minus[some[outputs[own]]], np.full(own.sum(), 2.0 * step)
            return found

        signs = np.random.default_rng(0).choice((-1.0, 1.0), self._function.outputs.flat.size)
        along = lambda t: float(signs @ self._function.flat(self._function.at.unpack(theta + t[0] * self._direction)))
        noise = noise_around(np.zeros(1), along).level if len(some) else 0.0
        entries, zeros, h = np.arange(len(some)), np.zeros(len(some)), np.full(len(some), PLAIN_STEP)
        with np.errstate(invalid="ignore", over="ignore"):
            first = Level.of(pairs(entries, h), zeros, noise)
            scale = np.full(len(some), root_mean_square(first.differences))
            return refine(pairs, entries, zeros, h, first, scale, noise, THOROUGH, enough)

    def _values(self, theta: NDArray[np.float64], h: float) -> Iterator[NDArray[np.float64]]:
        """The outputs at +h and at -h."""
        for point in (theta + h * self._direction, theta - h * self._direction):
            yield self._function.flat(self._function.at.unpack(point))


def _differ(before: Any, after: Any) -> bool:
    """Whether two arrays of numbers differ in some bit; of what is none nothing is known."""
    is_known = isinstance(before, np.ndarray) and before.dtype.kind in "biufc"
    return is_known and digest(before) != digest(np.asarray(after))


def _is_floating(name: str, tree: Tree) -> bool:
    """Whether all arrays of an argument are of floating-point numbers; an error if only some are."""
    kinds = {path: np.asarray(leaf).dtype.kind for path, leaf in walk(tree, name)}
    floating = [path for path, kind in kinds.items() if kind == "f"]
    other = next((path for path in kinds if path not in floating), None)
    if floating and other is not None:
        raise TypeError(f"{other}: no floating-point numbers, unlike {floating[0]}; make it an input of its own")
    return bool(floating)


def _require_callable(what: str, value: object) -> None:
    if not callable(value):
        raise TypeError(f"{what}: expected a function, got {value!r}")
