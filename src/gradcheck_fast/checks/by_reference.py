"""Checks of derivatives against those of a reference, a function of float64 that defines what is right."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.checks.as_problem import traced_by
from gradcheck_fast.checks.beside_value import packer
from gradcheck_fast.checks.numerical_gradient import make_runner
from gradcheck_fast.checks.one_precision import InOnePrecision, eps_of
from gradcheck_fast.comparison.aspects import Aspect
from gradcheck_fast.inputs._norms import root_mean_square
from gradcheck_fast.inputs.random_numbers import generator
from gradcheck_fast.inputs.trees import cast, entry_name, pack_as, parts
from gradcheck_fast.losses.along import Along
from gradcheck_fast.losses.function_loss import python_loss
from gradcheck_fast.losses.tree_function import Products, TreeFunction
from gradcheck_fast.numerical.errorbars import error_bars
from gradcheck_fast.numerical.one_precision import OnePrecision

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.checks.one_precision import Derivative
    from gradcheck_fast.checks.options import Options
    from gradcheck_fast.inputs.arrays import Precision
    from gradcheck_fast.inputs.trees import Packed
    from gradcheck_fast.losses.problem import Problem
    from gradcheck_fast.numerical.gradient import Numerical
    from gradcheck_fast.report.report import Report

#: A forward may differ from the reference by this many roundings of an output and of what is typical of its array, or
#: by this part of them where it computes in float64: another order of sums makes less.
ROUNDINGS, LEAST = 4.0, 1e-10
#: A small derivative may differ by this many roundings of the largest of its array; it is small if it, and what is
#: right, are no more than this part of the largest.
SATURATED, SMALL = 3.0, 0.04
#: And by this many times what the reference changes by if all arguments are moved by about one rounding; how often they
#: are moved.
CHANGES, MOVES = 4.0, 4
#: How often a derivative is found at arguments that are farther away, by up to this part of the square root of a
#: rounding: what is rounded on the way is rounded differently there, and the second difference is no more than that.
#: How many standard deviations of it are allowed, and in how many of the moves there may be kinks.
FAR_MOVES, FAR, DEVIATIONS, AT_KINKS = 7, 0.5, 6.0, 2


class ByReference(InOnePrecision):
    """A function whose derivatives are compared with those of a reference, and whose outputs are, too.

    Parameters
    ----------
    function : TreeFunction
    reference : callable
        It takes what the function takes, in float64, and gives what it gives, in float64.
    options, called, grids, computed_in
        As for `InOnePrecision`.

    Raises
    ------
    TypeError
        If the reference does not compute in float64.
    ValueError
        If it gives other shapes than the function.
    """

    def __init__(
        self, function: TreeFunction, reference: Callable[..., Any], options: Options, called: str,
        grids: Mapping[str, Precision], computed_in: Precision,
    ) -> None:  # fmt: skip
        super().__init__(function, options, called, grids, computed_in)
        in_double = function.at.unpack(self._beside.theta)
        self._reference = TreeFunction(
            reference, tuple(function.arguments(in_double)), list(function.names), "reference"
        )
        if self._reference.refusal:
            raise TypeError(f"reference: expected a function of float64, but {self._reference.refusal}")
        got, expected = self._reference.outputs.shapes, function.own.shapes
        if list(got.values()) != list(expected.values()):
            raise ValueError(f"reference: expected the outputs of {called}, of the shapes {expected}, got {got}")

    @staticmethod
    def _require_method(function: TreeFunction, options: Options, called: str) -> None:
        if options.is_directional:
            raise ValueError("method: 'directional' takes no reference; leave one of the two out")

    @property
    def aspects(self) -> tuple[Aspect, ...]:
        """Compares the outputs with those of the reference."""
        function, beside, reference = self._function, self._beside, self._reference
        right, own = reference.outputs.flat, beside.here
        rng, changes = generator(0), np.zeros(len(right))
        spacing = beside.spacing() if self._precision.is_coarse else np.zeros(len(beside.theta))
        for _ in range(MOVES):
            moved = beside.theta + rng.integers(-1, 2, len(spacing)) * spacing
            changes += (reference.flat(reference.at.unpack(moved)) - right) ** 2 / MOVES
        allowed = CHANGES * np.sqrt(changes)
        for name, part, _ in parts(function.own.shapes):
            eps = max(function.own.precision(name).eps, self._precision.eps)
            size = np.abs(right[part]) + root_mean_square(right[part])
            allowed[part] += max(ROUNDINGS * eps, LEAST) * size
        with np.errstate(invalid="ignore"):
            excess = np.where(np.isfinite(own), np.abs(own - right) - allowed, np.inf)
        worst = int(np.argmax(excess)) if len(excess) else 0
        if not len(excess) or excess[worst] <= 0.0:
            return (Aspect("forward", "right", "as the reference"),)
        where, count = entry_name(function.own.shapes, worst), int((excess > 0.0).sum())
        said = (
            f"the forward differs from the reference by {own[worst] - right[worst]:.3g} at {where}, where "
            f"{self._called} gives {own[worst]:.6g} and the reference {right[worst]:.6g}"
        )
        return (Aspect("forward", "wrong", said + f"; {count} of {len(excess)} outputs differ" * (count > 1)),)

    def product_report(self, gradient: Derivative, cotangent: NDArray[np.float64]) -> Report:
        function, at, theta = self._function, self._function.at, self._beside.theta
        packed = packer(None, self._options.selected(at).params, finite=False)

        def gradient_at(v: NDArray[np.float64], theta: NDArray[np.float64]) -> Packed:
            first = cast(function.own.unpack(v), function.own_outputs)
            found = gradient(first, cast(at.unpack(theta), function.params))
            return packed(found)

        own = replace(gradient_at(cotangent, theta), computed_in=self._precision)
        rounding = self._rounding(gradient_at, own, cotangent) + self._on_the_way(gradient_at, own, cotangent)
        loss = python_loss(Products(self._reference, cotangent).loss(""))
        problem = traced_by(self._options, loss, self._reference.params)
        return self._judged(own, rounding, problem, self._reference.at, at)

    def tangent_report(self, product: Derivative, tangent: NDArray[np.float64]) -> Report:
        function, theta = self._function, self._beside.theta

        def product_at(t: NDArray[np.float64], theta: NDArray[np.float64]) -> Packed:
            first = cast(function.at.unpack(t), function.params)
            found = product(first, cast(function.at.unpack(theta), function.params))
            return pack_as(found, function.own.shapes, "jvp", finite=False)

        own = replace(product_at(tangent, theta), computed_in=self._precision)
        rounding = self._rounding(product_at, own, tangent) + self._on_the_way(product_at, own, tangent)
        return self._judged(own, rounding, Along(self._reference, tangent), self._reference.outputs, function.own)

    def _on_the_way(
        self, derivative_at: Callable[[NDArray[np.float64], NDArray[np.float64]], Packed], own: Packed,
        first: NDArray[np.float64],
    ) -> NDArray[np.float64]:  # fmt: skip
        """Measures what the roundings of the forward do to a derivative: ``1 - y²`` has those of y.

        Moves by single roundings do not show them all, as y may stay the same. Where it takes few values even so, as it
        is near 1, the least difference of two derivatives is that of a rounding.
        """
        rng, theta, beside = generator(1), self._beside.theta, self._beside
        size, values = FAR * np.sqrt(self._precision.eps) * np.abs(theta), [own.flat]
        with np.errstate(invalid="ignore", over="ignore"):
            for _ in range(FAR_MOVES):
                move = beside.rounded(theta + size * rng.uniform(-1.0, 1.0, len(theta))) - theta
                move[~beside.can_move(move)] = 0.0
                values += [derivative_at(first, beside.rounded(theta + sign * move)).flat for sign in (1.0, -1.0)]
            found = np.stack(values)
            squares = np.sort((found[1::2] + found[2::2] - 2.0 * own.flat) ** 2 / 6.0, axis=0)
            deviation = np.sqrt(squares[:-AT_KINKS].mean(axis=0))
            gaps = np.diff(np.sort(found, axis=0), axis=0)
            least = np.where(gaps > 0.0, gaps, np.inf).min(axis=0)
        same = SATURATED * eps_of(own) * np.abs(own.flat)
        grid = np.where(np.isfinite(least), least, same)
        return np.where(np.isfinite(deviation), DEVIATIONS * deviation + grid, np.inf)

    def _judged(self, own: Packed, rounding: NDArray[np.float64], problem: Problem, at: Packed, like: Packed) -> Report:
        """Compares with the derivatives of a problem that computes in float64.

        A value that is rounded to 1, as of a saturated unit, has a slope of 0 where the reference has a small one: that
        is a rounding of the largest slopes. And the roundings of the forward are in no error bar here.
        """
        options, largest = self._options, np.zeros(own.flat.size)
        for _, part, _ in parts(own.shapes):
            largest[part] = np.abs(own.flat[part][np.isfinite(own.flat[part])]).max(initial=0.0)

        def may_be_lost(right: NDArray[np.float64]) -> NDArray[np.float64]:
            with np.errstate(invalid="ignore"):
                is_small = np.fmax(np.abs(own.flat), np.abs(right)) <= SMALL * largest
            return np.where(is_small, SATURATED * eps_of(own) * largest, 0.0)

        def derivatives(chosen: NDArray[np.intp]) -> tuple[OnePrecision, Numerical | None]:
            with make_runner(problem, at, options, None, {}) as runner:
                numerical = problem.central_differences(
                    at, method=options.method, step=options.one_step, runner=runner, kinks=True
                )
                found = error_bars(numerical, at.shapes)
                allowed = rounding + may_be_lost(found.gradient)
                errors = own.flat - found.gradient
                seems_wrong = np.where(np.abs(errors) > found.bars + allowed, errors, 0.0)
                other = numerical.doubted(seems_wrong) if numerical.doubted and seems_wrong.any() else None
                if other is not None:
                    numerical, found = other, error_bars(other, at.shapes)
                none, kinks = np.zeros_like(found.bars), numerical.kinks
                low, high = (none, none) if kinks is None else (kinks.low, kinks.high)
                derivative = OnePrecision(found.gradient, found.bars, low, high, none, allowed)
                return derivative, numerical

        return self._compared(own, derivatives, like)

    def _said(self) -> str:
        precision = self._precision.name
        return f"compared with the reference, as accurately as {self._called} computes, in {precision}"
