"""Tests every primitive in `CASES`: its shape, value, difference, way back, reach and kinks, each against the others.

A row of `CASES` has the name of a primitive, the shapes and ranges of its inputs, its attributes, and how many
roundings its difference may be off. Primitives with a formula in `reference` are compared with that at 60 digits.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pytest
from primitive_cases import TENSOR_CASES
from reference import ACTIVATIONS, exact, gelu_gate, mp, mpf, normal_cdf, sigmoid
from reference import softmax as exact_softmax

from gradcheck_fast.kernels import _kernels
from gradcheck_fast.kernels.instruction_sets import instruction_set
from gradcheck_fast.program.primitive import Primitive
from gradcheck_fast.program.steps import PRIMITIVES
from gradcheck_fast.program.steps.costs import COSTS

EPSILON = np.finfo(float).eps
SAMPLES, WIDTH = 4, 5


class Case(NamedTuple):
    name: str
    shapes: tuple[tuple[int, ...], ...]
    attributes: Mapping[str, Any] = MappingProxyType({})
    low: float = -3.0
    high: float = 3.0
    roundings: float = 64.0
    fixed: tuple[int, ...] = ()  # inputs that are data, and do not change

    def __repr__(self):
        return self.name


ROWS = (SAMPLES, WIDTH)
#: Two inputs of the same shape, and two of which the second is repeated, along one axis or two.
BROADCAST = ((ROWS, ROWS), (ROWS, (SAMPLES, 1)), (ROWS, ()))
COMPARISONS = ("greater", "greater_equal", "less", "less_equal", "equal", "not_equal")
COST = {"constant": 0.7, "scale": 0.25}
AFFINE = {"terms": ("bias", "matrix", "matrix", "diagonal"), "shape": ROWS, "offset": 0.5}
CASES = [
    Case("slice", ((6, 7),), {"ranges": ((1, 4), (2, 7))}),
    Case("slice", ((7,),), {"ranges": ((3, 5),)}),
    Case("affine", ((WIDTH,), (SAMPLES, 3), (3, WIDTH), (SAMPLES, 2), (2, WIDTH), ROWS, (1, WIDTH)), AFFINE),
    Case("affine", (), {"terms": (), "shape": ROWS, "offset": 0.0}),
    *(Case(name, (ROWS,)) for name in _kernels.ELEMENTWISE),
    Case("softmax", (ROWS,)),
    *(Case(name, (ROWS,)) for name in ("negative", "absolute", "square", "expm1", "exp2", "sin", "cos", "arctan")),
    *(Case(name, (ROWS,)) for name in ("sinh", "cosh", "arcsinh", "erf", "erfc", "sign", "floor", "ceil", "trunc")),
    *(
        Case(name, (ROWS,), low=0.5)
        for name in ("reciprocal", "sqrt", "cbrt", "log", "log2", "log10", "gammaln", "digamma", "trigamma")
    ),
    *(
        Case(name, (ROWS,), low=-0.6, high=0.6)
        for name in ("log1p", "tan", "arcsin", "arccos", "arctanh", "rint", "erfinv")
    ),
    Case("arccosh", (ROWS,), low=1.5),
    *(Case(name, shapes) for name in ("add", "subtract", "multiply") for shapes in BROADCAST),
    *(Case(name, shapes) for name in ("maximum", "minimum", "logaddexp", *COMPARISONS) for shapes in BROADCAST[:2]),
    *(Case(name, shapes, low=0.5) for name in ("divide", "power", "arctan2", "hypot", "xlogy") for shapes in BROADCAST),
    Case("select", ((SAMPLES, 1), ROWS, ROWS), fixed=(0,)),
    Case("select", ((SAMPLES, 1), (WIDTH,), ()), fixed=(0,)),
    Case("where", ((SAMPLES, 1), ROWS, ROWS), fixed=(0,)),
    Case("squared_error", (ROWS, ROWS), COST, fixed=(1,)),
    Case("absolute_error", (ROWS, ROWS, (SAMPLES, 1)), COST, fixed=(1, 2)),
    Case("huber", (ROWS, ROWS), COST, fixed=(1,)),
    Case("binary_cross_entropy_logits", (ROWS, ROWS), COST, fixed=(1,)),
    Case("binary_cross_entropy_probabilities", (ROWS, ROWS), COST, 0.4, 0.6, fixed=(1,)),
    Case("cross_entropy_logits", (ROWS, ROWS), COST, fixed=(1,)),
    Case("cross_entropy_logits_class", (ROWS, (SAMPLES, 1)), COST, fixed=(1,)),
    Case("cross_entropy_probabilities", (ROWS, ROWS), COST, 0.4, 0.6, fixed=(1,)),
    Case("cross_entropy_probabilities_class", (ROWS, (SAMPLES, 1)), COST, 0.4, 0.6, fixed=(1,)),
]
LEAVES = {"input", "parameter"}
each = pytest.mark.parametrize("case", CASES, ids=repr)


def drawn(case, seed=0):
    """Returns the primitive of a case, its inputs, and a generator. Masks are 0 and 1, and targets fit the cost."""
    random = np.random.default_rng(seed)
    x = [random.uniform(case.low, case.high, shape) for shape in case.shapes]
    for k in case.fixed:
        if case.name in COSTS and k == 1:
            by_class = COSTS[case.name].by_class
            x[k] = random.integers(0, WIDTH, case.shapes[k]).astype(float) if by_class else random.random(ROWS)
            if case.name.startswith("cross_entropy") and not by_class:
                x[k] /= x[k].sum(axis=1, keepdims=True)
        else:
            x[k] = np.array([[1.0], [0.0], [1.0], [1.0]])
    return PRIMITIVES[case.name], x, random


def moves(case, x, size, random):
    """Returns a random difference for each input, or None for some and for those that do not change."""
    free = [k for k in range(len(x)) if k not in case.fixed]
    still = set(case.fixed) | ({free[-1]} if len(free) > 2 else set())
    return [None if k in still else size * random.uniform(-1.0, 1.0, x[k].shape) for k in range(len(x))]


def moved(x, d):
    return [at if change is None else at + change for at, change in zip(x, d, strict=True)]


def assert_near(found, expected, scale, roundings):
    assert found.shape == np.shape(expected)
    assert np.abs(found - expected).max(initial=0.0) <= roundings * EPSILON * scale


def test_every_primitive_is_listed():
    assert {case.name for case in (*CASES, *TENSOR_CASES)} | LEAVES == set(PRIMITIVES)


def test_every_kernel_is_a_primitive():
    assert {*_kernels.ELEMENTWISE, *_kernels.PAIRWISE, *_kernels.COSTS} <= set(PRIMITIVES)


def test_a_missing_rule_is_an_error():
    rule = PRIMITIVES["add"].value
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'work'"):
        Primitive("a", "a", rule, rule, rule, rule, rule, rule, rule)
    with pytest.raises(TypeError, match="'a': every rule must be a function"):
        Primitive("a", "a", rule, rule, rule, None, rule, rule, rule, rule)


@each
def test_the_shape_is_that_of_the_value(case):
    primitive, x, _ = drawn(case)
    shape = primitive.shape(case.shapes, **case.attributes)
    assert primitive.value(x, **case.attributes).shape == shape
    assert primitive.work(case.shapes, **case.attributes) >= 0.0


@each
@pytest.mark.parametrize("size", [1e-3, 0.3])
def test_the_difference_is_that_of_two_values(case, size):
    primitive, x, random = drawn(case)
    d = moves(case, x, size, random)
    new, old = (primitive.value(at, **case.attributes) for at in (moved(x, d), x))
    scale = max(1.0, np.abs(new).max(initial=0.0), np.abs(old).max(initial=0.0))
    assert_near(primitive.difference(x, d, **case.attributes), new - old, scale, case.roundings)


@each
def test_no_digits_of_a_tiny_difference_are_lost(case):
    """Small differences are proportional to their inputs: that for 2^-30 is 2^10 times that for 2^-40."""
    primitive, x, random = drawn(case)
    d = moves(case, x, 2.0**-40, random)
    larger = [None if part is None else 2.0**10 * part for part in d]
    tiny, small = (primitive.difference(x, part, **case.attributes) for part in (d, larger))
    assert np.abs(2.0**10 * tiny - small).max(initial=0.0) <= 1e-7 * np.abs(small).max(initial=0.0)


@each
def test_what_goes_back_is_the_transpose_of_what_a_small_difference_does(case):
    """Checks <up, J d> = <J^T up, d> for each input: one side by differences, the other by the way back."""
    primitive, x, random = drawn(case)
    up = random.normal(size=primitive.shape(case.shapes, **case.attributes))
    for k in set(range(len(x))) - set(case.fixed):
        d: list[np.ndarray | None] = [None] * len(x)
        d[k] = 2.0**-30 * random.normal(size=x[k].shape)
        ahead = np.sum(up * primitive.difference(x, d, **case.attributes))
        d[k] = -d[k]
        ahead = (ahead - np.sum(up * primitive.difference(x, d, **case.attributes))) / 2.0
        back = primitive.back(x, k, up, **case.attributes)
        assert back.shape == x[k].shape
        assert np.sum(back * -d[k]) == pytest.approx(ahead, rel=1e-11, abs=1e-24)


@each
def test_only_what_is_reached_changes(case):
    primitive, x, random = drawn(case)
    for k in set(range(len(x))) - set(case.fixed):
        masks = [np.zeros(at.shape, np.bool_) for at in x]
        entry = tuple(int(random.integers(extent)) for extent in x[k].shape)
        masks[k][entry] = True
        d = [np.where(mask, 0.1, 0.0) for mask in masks]
        changed = primitive.difference(x, d, **case.attributes) != 0.0
        reached = primitive.reach(masks, **case.attributes)
        assert reached.shape == changed.shape
        assert not (changed & ~reached).any()


@each
def test_slopes_jump_at_kinks_and_nowhere_else(case):
    primitive, x, _ = drawn(case)
    margins = primitive.kinks(x, **case.attributes)
    assert len(margins) == 0 or margins.shape[1:] in (x[0].shape, primitive.value(x, **case.attributes).shape)
    for at in _kernels.ELEMENTWISE[case.name].kinks if case.name in _kernels.ELEMENTWISE else ():
        z, d = np.array([at]), np.array([2.0**-30])
        right, left = (primitive.difference([z], [step])[0] / step[0] for step in (d, -d))
        assert abs(right - left) > 1e-3
        assert (primitive.kinks([z]) == 0.0).any()


# ---- against formulas


#: The functions that are z times a gate G. Their difference d G + (z + d) dG is a sum that may cancel, so that errors
#: are measured relative to its two parts.
GATES = {"silu": sigmoid, "gelu": normal_cdf, "gelu_tanh": gelu_gate}


@pytest.mark.parametrize("name", _kernels.ELEMENTWISE)
@pytest.mark.parametrize("size", [2.0**-40, 1e-6, 0.1, 3.0, 40.0])
def test_a_function_of_one_number_at_60_digits(name, size):
    random = np.random.default_rng(1)
    zs = np.concatenate([random.uniform(-5.0, 5.0, 120), [-1.0, 0.0, 1.0, 6.0]])
    ds = size * random.choice([-1.0, 1.0], zs.shape)
    errors = []
    for z, d, found in zip(exact(zs), exact(ds), PRIMITIVES[name].difference([zs], [ds]).tolist(), strict=True):
        true = ACTIVATIONS[name](z + d) - ACTIVATIONS[name](z)
        scale = abs(true)
        if name in GATES:
            before, after = GATES[name](z), GATES[name](z + d)
            scale = abs(d) * before + abs(z + d) * abs(after - before)
        errors.append(abs(mpf(found) - true) / scale if scale else abs(mpf(found)))
    assert max(errors) <= 64 * EPSILON


def test_softmax_at_60_digits():
    z, d = np.array([[1.0, -2.0, 30.0, 0.5]]), np.array([[1e-9, -3e-9, 2e-9, 5e-9]])
    new = exact_softmax([a + b for a, b in zip(exact(z)[0], exact(d)[0], strict=True)])
    true = [a - b for a, b in zip(new, exact_softmax(exact(z)[0]), strict=True)]
    for found, t in zip(PRIMITIVES["softmax"].difference([z], [d])[0].tolist(), true, strict=True):
        assert abs(mpf(found) - t) <= 64 * EPSILON * abs(t)


def test_a_product_at_60_digits():
    a, b, da, db = (np.array([v]) for v in (3.7, -1e8, 1e-9, 1e-3))
    (found,) = PRIMITIVES["multiply"].difference([a, b], [da, db])
    exactly = [mpf(v.item()) for v in (a, b, da, db)]
    true = (exactly[0] + exactly[2]) * (exactly[1] + exactly[3]) - exactly[0] * exactly[1]
    assert abs(mpf(found.item()) - true) <= 4 * EPSILON * mp.fabs(true)


# ---- the kernels against the twin


@pytest.mark.parametrize("name", _kernels.ELEMENTWISE)
@pytest.mark.parametrize("size", [2.0**-40, 1e-3, 1.0])
def test_elementwise_kernels_are_their_twins(name, size):
    random = np.random.default_rng(2)
    z, d = random.uniform(-4.0, 4.0, 200), size * random.uniform(-1.0, 1.0, 200)
    value, difference = _kernels.elementwise(name, z, d, instruction_set())
    twin = PRIMITIVES[name]
    assert_near(value, twin.value([z]), max(1.0, np.abs(value).max()), 16)
    assert_near(difference, twin.difference([z], [d]), np.abs(difference).max(), 64)


@pytest.mark.parametrize("name", _kernels.PAIRWISE)
@pytest.mark.parametrize("changes", ["first", "second", "both", "neither"])
def test_pairwise_kernels_are_their_twins(name, changes):
    random = np.random.default_rng(4)
    f, g, df, dg = random.uniform(-3.0, 3.0, (4, 50))
    df, dg = df if changes in ("first", "both") else None, dg if changes in ("second", "both") else None
    value, difference = _kernels.pairwise(name, f, g, instruction_set(), df, dg)
    assert_near(value, PRIMITIVES[name].value([f, g]), 10.0, 4)
    assert_near(difference, PRIMITIVES[name].difference([f, g], [df, dg]), 20.0, 8)


@pytest.mark.parametrize("case", [case for case in CASES if case.name in COSTS], ids=repr)
@pytest.mark.parametrize("size", [2.0**-40, 1e-3, 0.05])
def test_cost_kernels_are_their_twins(case, size):
    cost, x, random = drawn(case)
    d = size * random.uniform(-1.0, 1.0, x[0].shape)
    value, difference = _kernels.cost(case.name, x[0], x[1], 0.7, d, instruction_set())
    attributes = {"constant": 0.7, "scale": 1.0}
    assert_near(value, cost.value(x[:2], **attributes), max(1.0, np.abs(value).max()), 16)
    assert_near(difference, cost.difference(x[:2], [d, None], **attributes), np.abs(d).max(), 256)


# ---- what does not fit


@pytest.mark.parametrize(
    ("name", "shapes", "attributes", "message"),
    [
        ("add", [(2, 3), (2, 4)], {}, r"inputs that can be broadcast, got \(2, 3\) and \(2, 4\)"),
        ("select", [(4, 1), (2, 3), (3,)], {}, r"inputs that can be broadcast, got \(4, 1\) and \(2, 3\) and \(3,\)"),
        ("where", [(2, 1), (2, 3), (2, 4)], {}, r"inputs of one shape, got \(2, 3\) and \(2, 4\)"),
        ("where", [(2, 3), (2, 3), (2, 3)], {}, r"a mask of shape \(2, 1\), got \(2, 3\)"),
        ("slice", [(2, 3)], {"ranges": ((0, 2), (1, 4))}, r"a part of an array of shape \(2, 3\)"),
        ("squared_error", [(2, 3), (2, 2)], COST, r"targets of shape \(2, 3\), got \(2, 2\)"),
        ("squared_error", [(2, 3), (2, 1)], COST, r"targets of shape \(2, 3\), got \(2, 1\)"),
        ("squared_error", [(2,), (2,)], COST, r"outputs of shape \(samples, width\), got \(2,\)"),
        ("squared_error", [(2, 3)], COST, "expected 2 inputs, got 1"),
        ("cross_entropy_logits_class", [(2, 3), (2, 3)], COST, r"classes of shape \(2, 1\), got \(2, 3\)"),
        ("tanh", [(2, 3), (2, 3)], {}, "expected 1 input, got 2"),
        ("softmax", [], {}, "expected 1 input, got 0"),
        ("add", [(2, 3)], {}, "expected 2 inputs, got 1"),
        ("multiply", [(2, 3), (2, 3), (2, 3)], {}, "expected 2 inputs, got 3"),
        ("where", [(2, 1), (2, 3)], {}, "expected 3 inputs, got 2"),
        ("slice", [], {"ranges": ()}, "expected 1 input, got 0"),
        ("affine", [(5,), (5,)], {**AFFINE, "terms": ("bias",), "shape": (2, 5)}, "expected 1 input, got 2"),
        ("parameter", [(2, 3)], {"shape": (2, 3)}, "expected 0 inputs, got 1"),
        ("squared_error", [(2, 3), (2, 3), (2, 3)], COST, r"a mask of shape \(2, 1\)"),
        ("affine", [(2, 3), (4, 5)], {**AFFINE, "terms": ("matrix",), "shape": (2, 5)}, r"multiplies \(2, 4\)"),
        ("affine", [(4,)], {**AFFINE, "terms": ("bias",), "shape": (2, 5)}, "a bias of 5 columns"),
    ],
)
def test_shapes_that_do_not_fit_are_named(name, shapes, attributes, message):
    with pytest.raises(ValueError, match=message):
        PRIMITIVES[name].shape(shapes, **attributes)


@pytest.mark.parametrize("name", sorted(LEAVES))
def test_a_leaf_is_given(name):
    with pytest.raises(TypeError, match="is given, not computed"):
        PRIMITIVES[name].value([])


@pytest.mark.parametrize("name", ["where", "squared_error"])
def test_masks_and_targets_do_not_change(name):
    (case,) = (case for case in CASES if case.name == name)
    primitive, x, _ = drawn(case)
    d = [None] * len(x)
    d[case.fixed[0]] = np.ones_like(x[case.fixed[0]])
    with pytest.raises(ValueError, match=r"do(es)? not change"):
        primitive.difference(x, d, **case.attributes)


# ---- what kinks leave open


def on_kinks(case, random):
    """Inputs of which about half of the free values lie on a kink of the primitive, if it has any."""
    primitive, x, _ = drawn(case)
    for margins in primitive.kinks(x, **case.attributes):
        k = next(k for k in range(len(x)) if k not in case.fixed)
        x[k] = np.where(random.random(x[k].shape) < 0.5, x[k] - margins, x[k])
    return primitive, x


@each
@pytest.mark.parametrize("seed", range(3))
def test_every_slope_between_the_sides_of_a_kink_lies_within_the_spread(case, seed):
    """The sensitivities of all sides: one-sided slopes, and any sensitivity of the output within half of `up`."""
    random = np.random.default_rng(seed)
    primitive, x = on_kinks(case, random)
    value = primitive.value(x, **case.attributes)
    up, half, h = random.normal(size=value.shape), random.random(value.shape), 2.0**-40
    for k in range(len(x)):
        if k in case.fixed:
            continue
        middle = primitive.back(x, k, up, **case.attributes)
        spread = primitive.spread(x, k, up, half, h, **case.attributes)
        assert spread.shape == x[k].shape
        assert (spread >= 0.0).all()
        for side in (-1.0, 1.0):
            aside = [at + side * 2.0**-20 * (j == k) for j, at in enumerate(x)]
            other = up + half * random.uniform(-1.0, 1.0, up.shape)
            found = primitive.back(aside, k, other, **case.attributes)
            assert (np.abs(found - middle) <= spread + 1e-4 * (1.0 + np.abs(found))).all()


@each
def test_without_kinks_and_without_doubt_there_is_no_spread(case):
    primitive, x, random = drawn(case)
    up = random.normal(size=primitive.value(x, **case.attributes).shape)
    for k in set(range(len(x))) - set(case.fixed):
        assert not primitive.spread(x, k, up, np.zeros_like(up), 2.0**-40, **case.attributes).any()
