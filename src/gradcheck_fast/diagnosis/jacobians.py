"""Mistakes that show in the entries of Jacobians and Hessians: transposes, factors, and terms that are left out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_fast.diagnosis import patterns
from gradcheck_fast.diagnosis.diagnose import diagnose_by
from gradcheck_fast.diagnosis.hypotheses import Hypothesis, make_case

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.comparison.results import Comparison
    from gradcheck_fast.diagnosis.diagnose import Diagnosis
    from gradcheck_fast.diagnosis.hypotheses import Arrays, Case
    from gradcheck_fast.inputs.jacobian_blocks import Blocks
    from gradcheck_fast.inputs.trees import Packed
    from gradcheck_fast.numerical.gradient import Numerical

    Reals = NDArray[np.float64]

#: The patterns of gradients that name mistakes of any derivatives.
_OF_ARRAYS = (patterns.everything_scaled, patterns.exchanged, patterns.array_scaled)
#: Those that say less.
_VAGUE = (patterns.scaled_anyhow, patterns.lines)
#: Terms may have these factors by mistake.
_FACTORS = (("halved", 0.5), ("doubled", 2.0), ("of the wrong sign", -1.0))


def diagnose_jacobian(
    analytic: Packed, numerical: Numerical, comparison: Comparison, blocks: Blocks, what: str = "Jacobian"
) -> tuple[Diagnosis, ...]:
    """Returns the mistakes that explain a wrong Jacobian or Hessian.

    Parameters
    ----------
    analytic : Packed
        What is checked, by blocks.
    numerical : Numerical
    comparison : Comparison
    blocks : Blocks
    what : str
        ``Jacobian``, or ``Hessian``, of which more mistakes are known.
    """
    case = make_case(None, analytic, analytic, numerical, comparison)
    own = _of_hessians(case, blocks) if what == "Hessian" else iter(())
    known = chain(_transposed(case, blocks, what), own, _zero(case), _by_patterns(case))
    found = diagnose_by(case, analytic, known)
    return _in_words(found, what)


def diagnose_arrays(
    analytic: Packed, numerical: Numerical, comparison: Comparison, what: str, sizes: Mapping[str, float] | None = None
) -> tuple[Diagnosis, ...]:
    """Returns the mistakes that explain wrong arrays of derivatives of any other kind.

    Parameters
    ----------
    analytic : Packed
        What is checked.
    numerical : Numerical
    comparison : Comparison
    what : str
        What the derivatives are called.
    sizes : mapping of str to float, optional
        Numbers that mistakes may multiply or divide by, each by what it is in words.
    """
    case = replace(make_case(None, analytic, analytic, numerical, comparison), sizes=sizes or {})
    found = diagnose_by(case, analytic, chain(_zero(case), _by_patterns(case)))
    return _in_words(found, what)


def _by_patterns(case: Case) -> Iterator[Hypothesis]:
    for pattern in (*_OF_ARRAYS, *_VAGUE):
        yield from pattern(case)


def _in_words(found: Iterable[Diagnosis], what: str) -> tuple[Diagnosis, ...]:
    """Puts what is said of gradients into words for other derivatives, which have the names of their arrays."""

    def of_these(said: str) -> str:
        for known in ("the numerical gradient", "the whole gradient"):
            said = said.replace(known, known.replace("gradient", what))
        return said.replace("the gradients of ", "").replace("the gradient of ", "")

    return tuple(one._replace(cause=of_these(one.cause), evidence=of_these(one.evidence)) for one in found)


def _transposed(case: Case, blocks: Blocks, what: str) -> Iterator[Hypothesis]:
    """Supposes that the whole, or a block, is the transpose of what it should be."""
    if blocks.extent[0] == blocks.extent[1] and len(case.numerical) == len(blocks.shapes):
        whole = _matrix(case.numerical, blocks)
        yield Hypothesis(
            f"it is the transpose: inputs by outputs instead of outputs by inputs, in the whole {what}",
            _by_blocks(whole.T, blocks), f"the transpose of the numerical {what}",
        )  # fmt: skip
    for name, (output, given) in zip(blocks.shapes, _sides(blocks), strict=True):
        if name not in case.wrong or len(blocks.shapes) == 1:
            continue
        rows, columns = int(np.prod(output)), int(np.prod(given))
        block = case.numerical[name].reshape(rows, columns)
        if rows == columns:
            cause = "{arrays}: it is the transpose, inputs by outputs instead of outputs by inputs"
            yield Hypothesis(cause, {name: block.T.reshape(output + given)}, "its transpose is right")
    for name, (output, given) in zip(blocks.shapes, _sides(blocks), strict=True):
        if name not in case.wrong or max(len(output), len(given)) < 2:
            continue
        turned = case.numerical[name].transpose(
            *reversed(range(len(output))), *reversed(range(len(output), len(output) + len(given)))
        )
        cause = "{arrays}: the entries of matrices are counted column after column instead of row after row"
        yield Hypothesis(cause, {name: turned.reshape(output + given)})


def _zero(case: Case) -> Iterator[Hypothesis]:
    """Supposes that arrays were never filled."""
    for name in case.wrong:
        zeros = np.zeros_like(case.numerical[name])
        yield Hypothesis("{arrays}: left out, zero", {name: zeros}, "not one entry of {arrays} is other than 0")


def _sides(blocks: Blocks) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    return ((own, other) for own in blocks.outputs.values() for other in blocks.inputs.values())


def _of_hessians(case: Case, blocks: Blocks) -> Iterator[Hypothesis]:
    """Supposes that terms of a Hessian are left out or have another factor."""
    if len(case.numerical) != len(blocks.shapes):
        return
    right = _matrix(case.numerical, blocks)
    diagonal = np.eye(len(right), dtype=bool)
    rows, columns = np.indices(right.shape)
    of_one, _ = blocks.parts_of(rows.ravel(), rows.ravel())
    of_other, _ = blocks.parts_of(columns.ravel(), columns.ravel())
    same = (of_one == of_other).reshape(right.shape)
    kinds = {
        "the blocks of two different arrays are left out: zero": np.where(same, right, 0.0),
        "all entries beside the diagonal are left out: zero": np.where(diagonal, right, 0.0),
        "the entries below the diagonal are left out: zero": np.triu(right),
        "the entries above the diagonal are left out: zero": np.tril(right),
        "the diagonal is left out: zero": np.where(diagonal, 0.0, right),
    }
    for how, factor in _FACTORS:
        kinds[f"the entries beside the diagonal are {how}"] = np.where(diagonal, right, factor * right)
        kinds[f"the diagonal is {how}"] = np.where(diagonal, factor * right, right)
        kinds[f"the blocks of two different arrays are {how}"] = np.where(same, right, factor * right)
    for cause, values in kinds.items():
        yield Hypothesis(cause, _by_blocks(values, blocks), "all other entries are right")


def _matrix(arrays: Arrays, blocks: Blocks) -> Reals:
    """Puts blocks together into the whole matrix."""
    flat = np.concatenate([np.ravel(arrays[name]) for name in blocks.shapes])
    rows, columns = np.indices(blocks.extent)
    return np.asarray(flat[blocks.places(rows.ravel(), columns.ravel())].reshape(blocks.extent))


def _by_blocks(matrix: Reals, blocks: Blocks) -> dict[str, Reals]:
    """Does the inverse of `_matrix`."""
    rows, columns = np.indices(blocks.extent)
    flat = np.empty(matrix.size)
    flat[blocks.places(rows.ravel(), columns.ravel())] = matrix.ravel()
    found, begin = {}, 0
    for name, shape in blocks.shapes.items():
        size = int(np.prod(shape))
        found[name] = flat[begin : begin + size].reshape(shape)
        begin += size
    return found
