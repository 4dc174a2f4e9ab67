"""Tests the primitives that act on whole tensors: each in `TENSOR_CASES`, against 60 digits and against its own rules.

The entrywise primitives and the costs are tested in `test_primitives`.
"""

import time
from functools import partial

import numpy as np
import pytest
from primitive_cases import EXACT, TENSOR_CASES, exact_array

from gradcheck_fast.program.primitive import SLOPE_STEP
from gradcheck_fast.program.steps import PRIMITIVES
from gradcheck_fast.program.steps.opaque import MOST_ENTRIES

EPSILON = np.finfo(float).eps
H = 2.0**-40
KNOWN = [case for case in TENSOR_CASES if case.name != "opaque"]
every = pytest.mark.parametrize("case", TENSOR_CASES, ids=repr)
known = pytest.mark.parametrize("case", KNOWN, ids=repr)


def rules(case):
    """Returns the rules of a case's primitive, with its attributes."""
    primitive = PRIMITIVES[case.name]
    names = ("shape", "value", "difference", "back", "reach", "kinks", "spread", "work")
    return {name: partial(getattr(primitive, name), **case.attributes) for name in names}


def moves(case, x, size, random):
    d = [np.asarray(size * random.uniform(-1.0, 1.0, at.shape)) for at in x]
    return [None, *d[1:]] if len(x) > 2 else d


def full(x, d):
    return [np.zeros(at.shape) if change is None else change for at, change in zip(x, d, strict=True)]


def alone(x, k, change):
    """Returns differences of which only that of input k is not None."""
    return [change if j == k else None for j in range(len(x))]


def unit(like, place):
    found = np.zeros(like.shape)
    found[place] = 1.0
    return found


def errors(found, exactly):
    """Returns the largest error, relative to the largest entry, in roundings."""
    off = max((abs(e) for e in np.ravel(exact_array(found) - exactly)), default=0)
    largest = max((abs(e) for e in exactly.ravel()), default=0)
    return float(off / largest / EPSILON) if off else 0.0


# ---- values and differences


@every
def test_the_shape_is_that_of_the_value(case):
    rule, (x, _) = rules(case), case.drawn()
    value = rule["value"](x)
    assert value.shape == rule["shape"](case.shapes)
    assert value.dtype == np.float64
    assert value.flags.c_contiguous or value.T.flags.c_contiguous  # a transposed matrix is read as it is
    assert rule["work"](case.shapes) >= 0.0


@known
def test_the_value_at_60_digits(case):
    x, _ = case.drawn()
    exactly = np.asarray(EXACT[case.name]([exact_array(at) for at in x], **case.attributes))
    found = rules(case)["value"](x)
    assert found.shape == exactly.shape
    if exactly.any():  # that of a singular matrix is 0, or nothing but rounding
        assert case.prepare.__name__ == "singular" or errors(found, exactly) <= case.roundings


@known
@pytest.mark.parametrize("size", [2.0**-40, 1e-6, 1.0])
def test_the_difference_at_60_digits(case, size):
    """Sizes are in those of the largest difference of the case. Inputs change together and one by one."""
    assert worst_difference(case, size, 0) <= case.roundings


@known
@pytest.mark.long
@pytest.mark.parametrize("size", [2.0**-40, 2.0**-20, 1e-3, 0.1, 1.0])
def test_many_differences_at_60_digits(case, size):
    assert max(worst_difference(case, size, seed) for seed in range(1, 20)) <= 8.0 * case.roundings


def worst_difference(case, size, seed):
    """Returns the largest error of a difference, in roundings: of all inputs together, and of each alone."""
    x, random = case.drawn(seed)
    d = moves(case, x, size * case.largest, random)
    exactly, value, worst = [exact_array(at) for at in x], partial(EXACT[case.name], **case.attributes), 0.0
    for changes in (d, *(alone(x, k, d[k]) for k in range(len(x)) if len(x) > 1)):
        to = [np.asarray(a + exact_array(change)) for a, change in zip(exactly, full(x, changes), strict=True)]
        found = rules(case)["difference"](x, changes)
        true = np.asarray(value(to) - value(exactly))
        assert found.shape == true.shape
        worst = max(worst, errors(found, true))
    return worst


@every
def test_no_rule_writes_into_its_inputs_and_all_return_arrays(case):
    rule, (x, random) = rules(case), case.drawn()
    d, up = moves(case, x, 1e-3, random), np.asarray(random.normal(size=rule["shape"](case.shapes)))
    for array in (*x, up, *(change for change in d if change is not None)):
        array.flags.writeable = False
    found = [rule["value"](x), rule["difference"](x, d), rule["kinks"](x)]
    for k in range(len(x)):
        found += [rule["back"](x, k, up), rule["spread"](x, k, up, np.asarray(np.abs(up)), H)]
    assert {type(array) for array in found} == {np.ndarray}
    assert {array.dtype for array in found} == {np.dtype(np.float64)}


# ---- back


@known
def test_what_goes_back_is_the_transpose_of_what_a_small_difference_does(case):
    """Checks <up, J d> = <J^T up, d> for each input: one side by differences, the other by the way back."""
    rule, (x, random) = rules(case), case.drawn()
    up = np.asarray(random.normal(size=rule["shape"](case.shapes)))
    for k in range(len(x)):
        d = np.asarray(H * random.normal(size=x[k].shape))
        plus, minus = (rule["difference"](x, alone(x, k, np.asarray(sign * d))) for sign in (1.0, -1.0))
        back = rule["back"](x, k, up)
        assert back.shape == x[k].shape
        scale = np.abs(up).ravel() @ np.abs(plus).ravel()
        assert abs(np.vdot(back, d) - np.vdot(up, plus - minus) / 2.0) <= 1e-13 * scale + 1e-30


@known
def test_what_goes_back_to_each_entry_is_its_central_difference(case):
    rule, (x, random) = rules(case), case.drawn()
    if any(at.size > 100 for at in x):
        return  # the test above suffices
    up = np.asarray(random.normal(size=rule["shape"](case.shapes)))
    for k in range(len(x)):
        back = rule["back"](x, k, up)
        for place in np.ndindex(x[k].shape):
            step = np.asarray(SLOPE_STEP * unit(x[k], place))
            plus, minus = (rule["difference"](x, alone(x, k, np.asarray(sign * step))) for sign in (1.0, -1.0))
            slope = (plus - minus) / (2.0 * SLOPE_STEP)
            assert abs(np.vdot(up, slope) - back[place]) <= 1e-13 * (np.abs(up).ravel() @ np.abs(slope).ravel())


def test_back_at_once_is_back_one_by_one():
    for case in (case for case in TENSOR_CASES if case.name == "gather"):
        rule, (x, random) = rules(case), case.drawn()
        up = np.asarray(random.normal(size=rule["shape"](case.shapes)))
        for k, back in enumerate(PRIMITIVES["gather"].back_all(x, up, **case.attributes)):
            assert back.dtype == np.float64
            assert np.array_equal(back, rule["back"](x, k, up))


# ---- reach, kinks and spread


@every
def test_only_what_is_reached_changes(case):
    rule, (x, random) = rules(case), case.drawn()
    for k in range(len(x)):
        for entry in random.integers(0, max(1, x[k].size), 3 if x[k].size else 0).tolist():
            masks = [np.zeros(at.shape, np.bool_) for at in x]
            masks[k].ravel()[entry] = True
            changed = rule["difference"](x, alone(x, k, np.where(masks[k], 1e-3, 0.0))) != 0.0
            reached = rule["reach"](masks)
            assert reached.dtype == np.bool_
            assert reached.shape == changed.shape
            assert not (changed & ~reached).any()


@every
def test_the_spread_bounds_what_a_doubtful_sensitivity_changes(case):
    """Without kinks: a sensitivity that is off by at most `half`, and none if that is 0."""
    rule, (x, random) = rules(case), case.drawn()
    up = np.asarray(random.normal(size=rule["shape"](case.shapes)))
    half = np.asarray(random.random(up.shape))
    for k in range(len(x)):
        back = rule["back"](x, k, up)
        spread = rule["spread"](x, k, up, half, H)
        assert spread.shape == x[k].shape
        assert (spread >= 0.0).all()
        for _ in range(3):
            other = rule["back"](x, k, np.asarray(up + half * random.choice([-1.0, 1.0], up.shape)))
            assert (np.abs(other - back) <= spread * (1.0 + 1e-9) + 1e-12).all()
        assert not rule["spread"](x, k, up, np.zeros_like(up), H).any()


@pytest.mark.parametrize(("name", "sign"), [("max", 1.0), ("min", -1.0)])
def test_at_ties_the_slopes_are_equal_shares_and_may_be_anything_between_0_and_1(name, sign):
    x = [sign * np.array([[1.0, 3.0, 3.0], [2.0, 1.0, 0.0], [2.0, 2.0, 2.0]])]
    attributes = {"axis": (1,), "keepdims": False}
    up, half = np.array([1.0, 2.0, -4.0]), np.array([0.0, 0.5, 0.25])
    primitive = PRIMITIVES[name]
    assert np.array_equal(primitive.kinks(x, **attributes), [[0.0, 1.0, 0.0]])
    back = primitive.back(x, 0, up, **attributes)
    assert np.array_equal(back, np.array([[0.0, 0.5, 0.5], [2.0, 0.0, 0.0], [-4.0, -4.0, -4.0]]) / [[1], [1], [3]])
    spread = primitive.spread(x, 0, up, half, H, **attributes)
    assert np.array_equal(spread, [[0.0, 1.0, 1.0], [0.5, 0.0, 0.0], [4.5, 4.5, 4.5]])


def test_ties_are_exact_and_a_loser_that_overtakes_loses_no_digits():
    x, attributes = np.array([1.0, 1.0, 1.0 - 1e-3, -1e300]), {"axis": (0,), "keepdims": False}
    for d in ([1e-20, -1e-20, 0.0, 0.0], [-1e-20, -3e-20, 0.0, 0.0], [-1.0, -1.0, 1e-3, 0.0], [-2.0, -3.0, 0.3, 1e300]):
        (found,) = np.atleast_1d(PRIMITIVES["max"].difference([x], [np.array(d)], **attributes))
        exactly = exact_array(x) + exact_array(np.array(d))
        assert abs(exact_array(np.array(found)).item() - (max(exactly) - 1)) <= 2 * EPSILON * abs(found)


# ---- what is special about some


def test_a_gather_of_100000_inputs_takes_linear_time():
    """It takes about 0.1 s; what takes time for each pair of inputs would take minutes."""
    count = 100_000
    x = [np.full((), float(k)) for k in range(count)]
    index = np.random.default_rng(0).permutation(count)
    gather = PRIMITIVES["gather"]
    begin = time.perf_counter()
    value = gather.value(x, index=index)
    gather.difference(x, [None, *x[1:]], index=index)
    back = gather.back_all(x, value, index=index)
    assert time.perf_counter() - begin < 5.0
    assert np.array_equal(np.array(back), np.arange(count))


@pytest.mark.parametrize("shapes", [((8, 30, 20), (20, 10)), ((8, 1, 5, 7), (3, 7, 4)), ((5, 7), (8, 7, 4))])
def test_a_product_of_stacks_is_that_of_numpy(shapes):
    a, b = (np.random.default_rng(0).normal(size=shape) for shape in shapes)
    assert np.allclose(PRIMITIVES["matmul"].value([a, b]), np.matmul(a, b), rtol=1e-14, atol=1e-14)


def test_a_determinant_may_change_its_sign():
    a, da = np.array([[2.0, 1.0], [1.0, 3.0]]), np.array([[-4.0, 0.0], [0.0, 0.0]])
    assert PRIMITIVES["det"].difference([a], [da]) == pytest.approx(-12.0, rel=1e-15)
    assert PRIMITIVES["logdet"].difference([a], [da]) == pytest.approx(np.log(7.0 / 5.0), rel=1e-14)


def test_a_tiny_change_of_a_large_determinant_keeps_its_digits():
    random = np.random.default_rng(0)
    a, da = random.normal(size=(30, 30)) + 6.0 * np.eye(30), 1e-12 * random.normal(size=(30, 30))
    trace = np.trace(np.linalg.solve(a, da))  # of the logarithm, to first order
    assert PRIMITIVES["logdet"].difference([a], [da]) == pytest.approx(trace, rel=1e-9)
    assert PRIMITIVES["det"].difference([a], [da]) == pytest.approx(np.linalg.det(a) * trace, rel=1e-9)


def test_cholesky_reads_the_lower_triangle_only():
    (case,) = (case for case in TENSOR_CASES if case.name == "cholesky" and case.shapes == ((3, 3),))
    rule, (x, _) = rules(case), case.drawn()
    upper = np.triu(np.ones((3, 3)), 1)
    assert not rule["difference"](x, [upper]).any()
    assert not (rule["back"](x, 0, np.ones((3, 3))) * upper).any()
    with pytest.raises(np.linalg.LinAlgError, match="not positive definite"):
        rule["difference"](x, [-100.0 * np.eye(3)])


# ---- opaque functions


def test_an_opaque_function_is_differenced():
    (case,) = (case for case in TENSOR_CASES if case.name == "opaque")
    rule, (x, random) = rules(case), case.drawn()
    assert np.array_equal(rule["value"](x), case.attributes["function"](*(at.copy() for at in x)))
    up = random.normal(size=4)
    for k in range(2):
        d = 1e-5 * random.normal(size=x[k].shape)
        plus, minus = (rule["difference"](x, alone(x, k, sign * d)) for sign in (1.0, -1.0))
        assert np.vdot(rule["back"](x, k, up), d) == pytest.approx(np.vdot(up, plus - minus) / 2.0, rel=1e-6)


def test_an_opaque_function_of_too_many_entries_is_named():
    def squared(x):
        return x * x

    x = [np.ones(MOST_ENTRIES + 1)]
    with pytest.raises(ValueError, match=r"squared is no function .* 10002 calls .*method='directional'"):
        PRIMITIVES["opaque"].back(x, 0, x[0], function=squared, shape=x[0].shape)
    with pytest.raises(ValueError, match=r"squared returned an array of shape \(5001,\) instead of \(3,\)"):
        PRIMITIVES["opaque"].value(x, function=squared, shape=(3,))


# ---- what does not fit


@pytest.mark.parametrize(
    ("name", "shapes", "attributes", "message"),
    [
        ("constant", [(2,)], {"value": np.ones(2)}, "expected 0 inputs, got 1"),
        ("reshape", [(2, 3)], {"shape": (4,)}, r"shape \(2, 3\) cannot have the shape \(4,\)"),
        ("strided", [(2, 3)], {"offset": 1, "strides": (3, 1), "shape": (2, 3)}, "entries 1 to 6 of an array"),
        ("strided", [(2, 3)], {"offset": 1, "strides": (-1,), "shape": (3,)}, "entries -1 to 1 of an array"),
        ("strided", [(2, 3)], {"offset": 0, "strides": (1,), "shape": (2, 3)}, "a stride for each axis"),
        ("gather", [], {"index": np.array([0])}, "expected an input, got 0"),
        ("gather", [(2,), (2,)], {"index": np.array([0, 4])}, "indices from 0 to 3, got 0 to 4"),
        ("gather", [(2,)], {"index": np.array([0.0])}, "an index of int64, got one of float64"),
        ("scatter_add", [(2,)], {"index": np.array([0]), "shape": (3,)}, r"an index of shape \(2,\)"),
        ("scatter_add", [(1,)], {"index": np.array([-1]), "shape": (3,)}, "indices from 0 to 2, got -1 to -1"),
        ("sum", [(2, 3)], {"axis": (2,), "keepdims": False}, r"cannot be reduced along the axes \(2,\)"),
        ("max", [(2, 0)], {"axis": (1,), "keepdims": False}, r"no entries along the axes \(1,\)"),
        ("cumsum", [(2, 3)], {"axis": 2}, r"shape \(2, 3\) has no axis 2"),
        ("matmul", [(2, 3), (2, 3)], {}, r"\(2, 3\) and \(2, 3\) have no matrix product"),
        ("matmul", [(2, 2, 3), (4, 3, 2)], {}, r"\(2, 2, 3\) and \(4, 3, 2\) have no matrix product"),
        ("matmul", [(), (3,)], {}, "have no matrix product"),
        ("solve", [(2, 3), (3,)], {}, r"square matrices, got the shape \(2, 3\)"),
        ("solve", [(3, 3), (2,)], {}, r"no right-hand sides of shape \(2,\)"),
        ("solve", [(2, 3, 3), (4, 3, 1)], {}, r"no right-hand sides of shape \(4, 3, 1\)"),
        ("det", [(3,)], {}, r"square matrices, got the shape \(3,\)"),
        ("opaque", [(3,)], {"function": 3, "shape": ()}, "expected a function, got int"),
    ],
)
def test_shapes_that_do_not_fit_are_named(name, shapes, attributes, message):
    with pytest.raises(ValueError, match=message):
        PRIMITIVES[name].shape(shapes, **attributes)
