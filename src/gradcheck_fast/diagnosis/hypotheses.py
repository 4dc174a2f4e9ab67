"""Describes a wrong gradient and a hypothesis about it, and decides whether the two agree."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from gradcheck_fast.diagnosis.adjoint import Tape, sweep_seconds
from gradcheck_fast.diagnosis.graph.search import search_of
from gradcheck_fast.diagnosis.unrolled import unroll
from gradcheck_fast.frontends.network.recurrent import Recurrent
from gradcheck_fast.inputs.arrays import DOUBLE, SINGLE, Precision, coarsest, is_float32
from gradcheck_fast.inputs.trees import parts, split
from gradcheck_fast.losses.network_loss import NetworkLoss
from gradcheck_fast.losses.program_loss import ProgramLoss
from gradcheck_fast.losses.rounded_gradient import RoundedGradient
from gradcheck_fast.numerical.gradient import EPSILON

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.comparison.results import Comparison
    from gradcheck_fast.diagnosis.graph.backward import Change
    from gradcheck_fast.diagnosis.graph.search import Search
    from gradcheck_fast.inputs.trees import Packed
    from gradcheck_fast.losses.problem import Problem
    from gradcheck_fast.numerical.gradient import Numerical

Values: TypeAlias = "NDArray[np.float64]"
Arrays: TypeAlias = "Mapping[str, Values]"

#: A gradient that was computed in numbers of this kind must agree with a hypothesis to this part of the largest entry
#: of an array.
FITS = {"bfloat16": 1e-1, "float16": 2e-2, "float32": 1e-4, "float64": 1e-9}
#: If the numerical gradient was computed in plain arithmetic, it need agree only to this part.
FITS_PLAIN = 1e-5
#: What entries show, such as a factor, an order or a wrong row, is evidence only if there are at least this many.
ENTRIES = 4
#: Mutants of a network are tried only if that takes less than this many estimated seconds.
_SECONDS = 10.0
#: There are about this many mutants for each path of a cell or layer.
_MUTANTS = 25
#: A hypothesis says something of an array only if it differs from the right gradient by this many times the tolerance.
_DIFFERS = 10.0
#: An array whose numerical gradient has more noise than this, relative to its largest entry, is no evidence.
_MOST_NOISE = 0.1
#: A hypothesis agrees only if it is as near as this part of its difference from the right gradient.
_OF_CHANGE = 1e-6
#: But errors of rounding may be as large as this, relative to the largest entry of an array.
_ROUNDED = 1e-12
#: The part for gradients with few digits.
_OF_COARSE_CHANGE = 0.1
#: What is smaller than this part of the largest entry of the whole gradient is rounding: zero, in exact arithmetic.
_ROUNDING = 1e-14
#: The decimal digits that agree, added up over all entries that a hypothesis explains, must be at least this many.
_DIGITS = 9.0

#: Entries are multiples of one number if they are no more than so many times it, and whole numbers of times to this.
_MOST_MULTIPLE, _WHOLE = 64.0, 1e-6


class Hypothesis(NamedTuple):
    """A mistake, and the gradients that it would give to some arrays.

    ``{arrays}`` in `cause` and `evidence` stands for the names of the arrays that it explains. Hypotheses with the same
    words become one diagnosis. `evidence` may be empty. `lines` are those of the user's files that it is about, and
    `mistakes` are what it changes on the way back through a program, if that is known.
    """

    cause: str
    arrays: Arrays
    evidence: str = ""
    lines: tuple[tuple[str, int], ...] = ()
    mistakes: tuple[Change, ...] = ()


@dataclass(frozen=True, eq=False, repr=False)
class Case:
    """A wrong gradient and what is known about its loss. Dictionaries have the names of arrays as keys, in order.

    Attributes
    ----------
    params, analytic, numerical : dict
        The parameters and the two gradients, only of arrays in which both gradients are finite.
    wrong : tuple of str
        The arrays with wrong entries.
    fits : float
        A gradient agrees with a hypothesis if it is as near as this, relative to the largest entry of an array.
    noise : dict
        How far off the numerical gradient may be, relative to the same; 0 for arrays that are missing here.
    unclear : frozenset of str
        The arrays in which nothing could be checked or decided.
    whole : bool
        Whether all arrays are here.
    sizes : dict
        The numbers that mistakes multiply or divide by; the keys say in words what they are.
    layers : dict
        The number of the layer of each array; empty for a loss that is not a network's.
    decay : dict
        The strength of the L2 penalty on each array.
    gates : dict
        The letters of the gates that an array of a recurrent layer has side by side.
    tape : Tape, optional
        The network's steps; None if nothing is known of them, or if going through them would take too long.
    search : Search, optional
        The search for mistakes in a program, as that of a traced function; None if the loss is no program, or if not
        all of its gradient is finite.
    turned : bool
        Whether matrices are the transposes of the user's.
    base : dict
        With a search: the gradient to which its mistakes add something.
    """

    params: Arrays
    analytic: Arrays
    numerical: Arrays
    wrong: tuple[str, ...]
    fits: float
    noise: Mapping[str, float] = field(default_factory=dict)
    unclear: frozenset[str] = frozenset()
    whole: bool = True
    sizes: Mapping[str, float] = field(default_factory=dict)
    layers: Mapping[str, int] = field(default_factory=dict)
    decay: Mapping[str, float] = field(default_factory=dict)
    gates: Mapping[str, str] = field(default_factory=dict)
    tape: Tape | None = None
    search: Search | None = None
    base: Arrays = field(default_factory=dict)
    turned: bool = False

    @property
    def informative(self) -> list[str]:
        """The arrays whose numerical gradient is more than noise."""
        return [
            name
            for name, array in self.numerical.items()
            if array.any() and name not in self.unclear and self.noise.get(name, 0.0) <= _MOST_NOISE
        ]

    def tolerance(self, name: str) -> float:
        """Returns how near to a hypothesis an array must be, relative to its largest entry."""
        return max(self.fits, min(self.noise.get(name, 0.0), _MOST_NOISE))

    def misfit(self, name: str, values: Values, other: Values) -> float:
        """Returns the largest difference of two gradients of an array, relative to its largest entry."""
        scale = max(float(np.abs(array).max(initial=0.0)) for array in (values, self.numerical[name]))
        return float(np.abs(values - other).max(initial=0.0)) / scale if scale else 0.0

    def is_changed(self, name: str, values: Values) -> bool:
        """Whether `values` are clearly another gradient of that array than the right one."""
        if np.abs(values - self.numerical[name]).max(initial=0.0) <= self._rounding:
            return False
        return not self.misfit(name, values, self.numerical[name]) <= _DIFFERS * self.tolerance(name)

    def is_rounding(self, name: str) -> bool:
        """Whether the right gradient of an array is zero, but for rounding."""
        return float(np.abs(self.numerical[name]).max(initial=0.0)) <= self._rounding

    def explained(self, arrays: Arrays) -> dict[str, float]:
        """Returns the arrays that a hypothesis changes, each with its misfit.

        There are none unless the analytic gradient of each of them is as the hypothesis says, and enough digits agree.
        """
        changed = [name for name, values in arrays.items() if name in self.analytic and self.is_changed(name, values)]
        found, digits = {}, 0.0
        for name in changed:
            found[name] = self.misfit(name, arrays[name], self.analytic[name])
            change = self.misfit(name, arrays[name], self.numerical[name])
            if not found[name] <= min(self.tolerance(name), max(self._part_of_change * change, _ROUNDED)):
                return {}
            digits -= np.log10(max(found[name] / change, EPSILON)) * self.analytic[name].size
        return found if digits >= _DIGITS else {}

    def are_evidence(self, names: Collection[str]) -> bool:
        """Whether arrays that a hypothesis explains show enough if it does not explain all that are wrong."""
        return set(self.wrong) <= set(names) or sum(map(self._most_digits, names)) >= _DIGITS

    def _most_digits(self, name: str) -> float:
        """Returns how many decimal digits an array shows at most: few if all its entries are multiples of one number.

        So it is with counts over N. Where other arrays are wrong in another way, a few of them are no evidence. That an
        array is zero is one, however few entries it has.
        """
        if not self.analytic[name].any():
            return np.inf
        entries = np.concatenate([np.ravel(self.analytic[name]), np.ravel(self.numerical[name])])
        sizes = np.sort(np.abs(entries))
        steps = np.diff(sizes, prepend=0.0)
        unit = float(steps[steps > _ROUNDED * sizes[-1]].min(initial=np.inf))
        multiples = entries / unit
        most = float(np.abs(multiples).max(initial=0.0))
        if not most <= _MOST_MULTIPLE or np.abs(multiples - np.round(multiples)).max(initial=0.0) > _WHOLE:
            return np.inf
        return float(np.log10(2.0 * most + 1.0) * self.analytic[name].size)

    @cached_property
    def _rounding(self) -> float:
        sizes = (float(np.abs(array).max(initial=0.0)) for array in self.numerical.values())
        return _ROUNDING * max(sizes, default=0.0)

    @property
    def _part_of_change(self) -> float:
        """To which part of what a hypothesis changes it must agree: nearly right gradients are near to any of them."""
        return _OF_CHANGE if self.fits <= FITS["float64"] else _OF_COARSE_CHANGE


def make_case(
    problem: Problem | None, params: Packed, analytic: Packed, numerical: Numerical, comparison: Comparison
) -> Case:  # fmt: skip
    """Collects the wrong gradient and what is known about its loss; without a `problem`, the two gradients alone."""
    a, n, p = (dict(split(flat, analytic.shapes)) for flat in (analytic.flat, comparison.numerical, params.flat))
    finite = [name for name in a if np.isfinite(a[name]).all() and np.isfinite(n[name]).all()]
    case = Case(
        params={name: p[name] for name in finite},
        analytic={name: a[name] for name in finite},
        numerical={name: n[name] for name in finite},
        wrong=tuple(array.name for array in comparison.arrays if array.wrong and array.name in finite),
        fits=max(FITS[_precision(analytic).name], 0.0 if numerical.exact else FITS_PLAIN),
        noise={} if numerical.exact else _noise(analytic, numerical, comparison),
        unclear=frozenset(array.name for array in comparison.arrays if array.status not in ("right", "wrong")),
        whole=all(array.status != "not checked" for array in comparison.arrays),
    )
    loss = problem.problem if isinstance(problem, RoundedGradient) else problem
    if isinstance(loss, NetworkLoss):
        return _with_network(case, loss, params.flat)
    if isinstance(loss, ProgramLoss) and numerical.exact and len(finite) == len(a):
        return _with_program(case, loss, params.flat, _right_at_kinks(analytic, numerical, comparison))
    return case


def _right_at_kinks(analytic: Packed, numerical: Numerical, comparison: Comparison) -> Values:
    """Returns the numerical gradient with the user's own slopes at kinks, as far as they are right."""
    if numerical.kinks is None:
        return comparison.numerical
    return np.where(numerical.kinks.where & (comparison.excess <= 1.0), analytic.flat, comparison.numerical)


def _noise(analytic: Packed, numerical: Numerical, comparison: Comparison) -> dict[str, float]:
    """Returns the largest error bar of each array relative to its largest entry.

    It leaves out entries at kinks, and those that agree so well that no error bars were looked for.
    """
    if comparison.bars is None:
        return {}
    found = {}
    at_kinks = np.broadcast_to(False if numerical.kinks is None else numerical.kinks.where, analytic.flat.shape)
    for name, part, _ in parts(analytic.shapes):
        n, bars = comparison.numerical[part], comparison.bars[part]
        largest = float(np.abs(n).max(initial=0.0))
        agree = np.abs(analytic.flat[part] - n) <= FITS_PLAIN * largest
        counted = ~(at_kinks[part] | (np.isinf(bars) & agree))
        found[name] = float(bars[counted].max(initial=0.0)) / largest if largest else 0.0
    return found


def _with_network(case: Case, loss: NetworkLoss, theta: Values) -> Case:
    unrolled, finite = unroll(loss), case.numerical
    network = unrolled.network
    owned = zip(
        network.shapes, ((k, layer) for k, layer in enumerate(network.layers, 1) for _ in layer.shapes), strict=True
    )
    owners = {name: owner for name, owner in owned if name in finite}
    gates = {
        name: layer.letters
        for name, (_, layer) in owners.items()
        if isinstance(layer, Recurrent) and finite[name].shape[-1] == len(layer.letters) * layer.hidden > layer.hidden
    }
    decay = {name: network.penalty.decay(finite[name].shape) if network.penalty else 0.0 for name in finite}
    samples, outputs, times = loss.samples, network.outputs, loss.times
    sizes = {"the number of samples N": samples, "the number of outputs K": outputs, "the number of times T": times}
    for what, other in (("N K", outputs), ("N T", times)):
        sizes[what] = samples * other if other > 1 else 1
    sizes = {what: size for what, size in sizes.items() if size > 1}
    tables = unrolled.engine.tables
    mutants = _MUTANTS * sum(len(step.inputs) for step in tables.rows.steps) / loss.times
    affordable = mutants * sweep_seconds(tables, loss.samples) <= _SECONDS
    return replace(
        case,
        sizes=sizes,
        layers={name: layer for name, (layer, _) in owners.items()},
        decay=decay,
        gates=gates,
        tape=Tape(unrolled, theta) if affordable else None,
    )


def _with_program(case: Case, loss: ProgramLoss, theta: Values, right: Values) -> Case:
    wrong = [name for name in case.wrong if case.is_changed(name, case.analytic[name])]
    base = dict(split(right, {name: array.shape for name, array in case.numerical.items()}))
    search = search_of(loss.engine, theta, case.analytic, base, wrong, case.fits)
    return case if search is None else replace(case, sizes=search.view.sizes, search=search, base=base)


def _precision(analytic: Packed) -> Precision:
    """Returns the precision in which the gradient was computed, as it is known or as its entries show."""
    known = coarsest(analytic.precisions)
    return SINGLE if known == DOUBLE and is_float32(analytic.flat) else known
