"""The numerical Jacobian of a function of trees: by its columns, or, of a traced function with few outputs, by rows."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.inputs._norms import root_mean_square
from gradcheck_fast.inputs.arrays import by_arrays
from gradcheck_fast.inputs.random_numbers import generator
from gradcheck_fast.inputs.trees import parts, walk
from gradcheck_fast.losses.along import Along
from gradcheck_fast.losses.column import AccurateColumn, Column
from gradcheck_fast.numerical.gradient import EPSILON, JITTER, PLAIN_STEP, Numerical, jitter
from gradcheck_fast.numerical.joined import Piece, joined

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.inputs.jacobian_blocks import Blocks
    from gradcheck_fast.losses.along import ExactChanges
    from gradcheck_fast.losses.problem import Problem
    from gradcheck_fast.losses.tree_function import TreeFunction, Trees
    from gradcheck_fast.running.runner import Runner

    Reals = NDArray[np.float64]

#: What the cotangent is called among the parameters of `Paired`.
COTANGENT = "cotangent"
#: The chained gradient of one output, with all that vouches for it, takes as long as this many exact changes.
CHAIN_CHANGES = 20
#: Outputs of one array have the same noise if they are in the same stretch of so many powers of two.
ONE_SIZE = 16


class Columns:
    """What gives the derivatives of a function along directions.

    Parameters
    ----------
    function : TreeFunction
    exact : ExactChanges, optional
        What knows the exact changes of all outputs.
    step : float, optional
        h; None if it is chosen.
    roundings : ndarray of float64, optional
        Of a function that has no error but rounding: how far each output moves if all that it is found from is rounded
        once, over EPSILON. See `AccurateColumn`.
    """

    def __init__(
        self, function: TreeFunction, exact: ExactChanges | None, step: float | None, roundings: Reals | None = None
    ) -> None:
        self.function, self.exact, self._step, self._roundings = function, exact, step, roundings

    @cached_property
    def scales(self) -> Reals:
        """How far each input is moved for a step of 1: a power of two that is no less than its size, and 1 or more."""
        if self._step is not None:
            return np.ones(self.function.at.flat.size)
        return np.asarray(np.exp2(np.ceil(np.log2(np.maximum(1.0, np.abs(self.function.at.flat))))))

    @cached_property
    def _noise(self) -> Reals:
        if self._roundings is not None:
            return self._level(self._roundings)
        direction = generator(0).standard_normal(len(self.scales)) * self.scales
        return Along(self.function, direction).noise_of(_of_one_size(self.function))

    def _level(self, roundings: Reals) -> Reals:
        """Estimates the rounding of each output: its own, that of its array, and what that of the inputs changes."""
        function, outputs = self.function, self.function.outputs
        change = np.abs(function.flat(function.at.unpack(jitter(function.at.flat))) - outputs.flat)
        sizes = [part.stop - part.start for _, part, _ in parts(outputs.shapes)]
        own, moved = (by_arrays(values, sizes, root_mean_square) for values in (outputs.flat, change))
        return np.fmax(EPSILON * np.maximum(own, roundings), moved * (EPSILON / JITTER))

    def along(self, direction: Reals) -> Numerical:
        """Returns the derivatives of all outputs along a direction."""
        found = Column(self.function, direction, self.exact, lambda: self._noise)
        if self._roundings is not None and self._step is None:
            found = AccurateColumn(self.function, direction, lambda: self._noise, self._roundings)
        params = self.function.outputs
        return found.central_differences(params, method="auto", step=self._step, kinks=True)

    def column(self, number: int) -> Numerical:
        """Returns the derivatives of all outputs by an input, times its scale."""
        direction = np.zeros(len(self.scales))
        direction[number] = self.scales[number]
        return self.along(direction)

    def plainly(self) -> Columns:
        """Returns the same by plain differences of the function itself."""
        return Columns(self.function, None, self._step)


def _of_one_size(function: TreeFunction) -> NDArray[np.intp]:
    """Returns a number for each output, which is that of the others in its array that are of about its size."""
    outputs = function.outputs
    powers = np.frexp(outputs.flat)[1] // ONE_SIZE
    arrays = np.repeat(np.arange(len(outputs.shapes)), [p.stop - p.start for _, p, _ in parts(outputs.shapes)])
    return np.unique(np.stack([arrays, powers]), axis=1, return_inverse=True)[1].reshape(-1)


def by_columns(columns: Columns, blocks: Blocks, runner: Runner | None = None) -> Numerical:
    """Finds the Jacobian by moving every input by itself.

    Parameters
    ----------
    columns : Columns
    blocks : Blocks
        Where its entries lie.
    runner : Runner, optional
        Is told how many inputs have been moved.
    """
    (height, width), rows = blocks.extent, np.arange(blocks.extent[0])
    numericals = []
    for number in range(width):
        numericals.append(columns.column(number))
        if runner is not None:
            runner.tell((number + 1) / width)
    places = [blocks.column(number) for number in range(width)]

    def doubted(errors: Reals) -> Numerical | None:
        for numerical, at, scale in zip(numericals, places, columns.scales, strict=True):
            own = errors[at] * scale
            if own.any() and numerical.doubted is not None and numerical.doubted(own) is not None:
                return by_columns(columns.plainly(), blocks)
        return None

    pieces = [
        Piece(numerical, rows, at, 1.0 / scale)
        for numerical, at, scale in zip(numericals, places, columns.scales, strict=True)
    ]
    found = joined(pieces, height * width, doubted)
    return found if columns.exact is not None else found._replace(step=found.step or PLAIN_STEP)


class Paired:
    """The product of a cotangent with all outputs of a function, as a loss of the parameters and of the cotangent.

    Parameters
    ----------
    function : TreeFunction

    Attributes
    ----------
    users_function : callable
        The function itself.
    """

    def __init__(self, function: TreeFunction) -> None:
        self._function, self.users_function = function, function.users_function

    def __call__(self, params: Trees) -> float:
        own = {name: tree for name, tree in params.items() if name != COTANGENT}
        return float(params[COTANGENT] @ self._function.flat(own))

    def with_function(self, f: Callable[..., Any]) -> Callable[[Trees], Any]:
        """Gives the same product of another version of the user's function, as one that records what it does."""

        def product(params: Trees) -> Any:
            own = {name: tree for name, tree in params.items() if name != COTANGENT}
            found = walk({"output": self._function.version(f)(*self._function.arguments(own))})
            places = [part for _, part, _ in parts(self._function.outputs.shapes)]
            terms = [params[COTANGENT][part] @ np.ravel(leaf) for part, (_, leaf) in zip(places, found, strict=True)]
            return sum(terms[1:], start=terms[0])

        return product


def rows_are_less(function: TreeFunction) -> bool:
    """Whether a chained gradient of each output is less work than to move every input."""
    return CHAIN_CHANGES * function.outputs.flat.size < 2 * function.at.flat.size


def by_rows(
    problem_of: Callable[[Paired, Trees], Problem], function: TreeFunction, blocks: Blocks, runner: Runner
) -> Numerical | None:
    """Finds the Jacobian by chaining the gradient of every output; None if the function cannot be traced.

    Parameters
    ----------
    problem_of : callable
        ``problem_of(loss, params)`` traces a loss of trees.
    function : TreeFunction
    blocks : Blocks
        Where the entries of the Jacobian lie.
    runner : Runner
    """
    height, width = blocks.extent

    def trees(cotangent: Reals) -> Trees:
        return {**function.in_double, COTANGENT: cotangent}

    problem = problem_of(Paired(function), trees(generator(0).standard_normal(height)))
    if "chain" not in problem.methods:
        return None
    numericals = []
    for number in range(height):
        params = problem.pack(trees((np.arange(height) == number).astype(np.float64)))
        found = problem.central_differences(params, method="auto", step=None, runner=runner.quietly(), kinks=True)
        if found.method != "chain" or not found.exact or not np.isfinite(found.gradient).all():
            return None
        numericals.append(found.of(np.arange(width)))
        runner.tell((number + 1) / height)
    places = [blocks.row(number) for number in range(height)]

    def doubted(errors: Reals) -> Numerical | None:
        for numerical, at in zip(numericals, places, strict=True):
            if errors[at].any() and numerical.doubted is not None and numerical.doubted(errors[at]) is not None:
                return by_columns(Columns(function, None, None), blocks)
        return None

    pieces = [Piece(numerical, np.arange(width), at) for numerical, at in zip(numericals, places, strict=True)]
    return joined(pieces, height * width, doubted)
