"""Trees of arrays: one flat vector and back, whatever the tree."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from types import MappingProxyType

import numpy as np
import pytest

from gradcheck_fast.inputs.trees import copy, pack, pack_as, parts, split

Layer = namedtuple("Layer", ["W", "b"])

W, B = np.arange(6.0).reshape(2, 3), np.array([10.0, 20.0, 30.0])

TREES = {
    "array": (W, ["params"]),
    "vector": (B, ["params"]),
    "number": (1.5, ["params"]),
    "numpy-number": (np.float64(1.5), ["params"]),
    "zero-dimensional": (np.array(1.5), ["params"]),
    "three-dimensional": (np.arange(24.0).reshape(2, 3, 4), ["params"]),
    "dict": ({"W": W, "b": B}, ["W", "b"]),
    "dict-by-number": ({1: W, 0: B}, ["1", "0"]),
    "list": ([W, B], ["[0]", "[1]"]),
    "tuple": ((W, B), ["[0]", "[1]"]),
    "namedtuple": (Layer(W, B), ["[0]", "[1]"]),
    "list-of-numbers": ([1.0, 2.0], ["[0]", "[1]"]),
    "nested-dict": ({"a": {"W": W}, "b": B}, ["a.W", "b"]),
    "list-of-dicts": ([{"W": W}, {"W": B}], ["[0].W", "[1].W"]),
    "dict-of-lists": ({"a": [W, B], "b": 2.0}, ["a[0]", "a[1]", "b"]),
    "list-of-tuples": ([(W, B), (B,)], ["[0][0]", "[0][1]", "[1][0]"]),
    "deep": ({"a": [{"b": (W, [B])}]}, ["a[0].b[0]", "a[0].b[1][0]"]),
    "empty-parts": ({"a": [], "b": {}, "c": B}, ["c"]),
    "empty": ({}, []),
    "empty-array": (np.empty((0, 3)), ["params"]),
}
trees = pytest.mark.parametrize("tree", [tree for tree, _ in TREES.values()], ids=TREES)


def leaves(tree):
    if isinstance(tree, (dict, OrderedDict)):
        return [leaf for child in tree.values() for leaf in leaves(child)]
    if isinstance(tree, (list, tuple)):
        return [leaf for child in tree for leaf in leaves(child)]
    return [tree]


def assert_same_tree(a, b):
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert list(a) == list(b)
        a, b = list(a.values()), list(b.values())
    if isinstance(a, (list, tuple)):
        assert len(a) == len(b)
        for left, right in zip(a, b, strict=True):
            assert_same_tree(left, right)
    else:
        np.testing.assert_array_equal(a, b)


# ---- pack


@trees
def test_round_trip(tree):
    packed = pack(tree)
    assert packed.flat.dtype == np.float64
    assert packed.flat.ndim == 1
    back = packed.unpack(packed.flat)
    assert_same_tree(back, float(tree) if isinstance(tree, np.float64) else tree)


@trees
def test_flat_is_array_after_array_in_c_order(tree):
    expected = np.concatenate([np.ravel(leaf) for leaf in leaves(tree)] or [np.empty(0)])
    np.testing.assert_array_equal(pack(tree).flat, expected)


@pytest.mark.parametrize(("tree", "names"), TREES.values(), ids=TREES)
def test_arrays_are_named_by_their_path(tree, names):
    packed = pack(tree)
    assert list(packed.shapes) == names
    assert list(packed.shapes.values()) == [np.shape(leaf) for leaf in leaves(tree)]
    assert [name for name, _ in packed.arrays(packed.flat)] == names


@trees
def test_unpack_gives_float64_arrays_that_are_views_of_the_given_numbers(tree):
    packed = pack(tree)
    numbers = np.linspace(-1, 1, packed.flat.size)
    back = packed.unpack(numbers)
    assert all(np.asarray(leaf).dtype == np.float64 for leaf in leaves(back))
    np.testing.assert_array_equal(pack(back).flat, numbers)
    for leaf in leaves(back):
        if isinstance(leaf, np.ndarray) and leaf.size:
            assert np.shares_memory(leaf, numbers)
            assert not np.shares_memory(leaf, packed.flat)


def test_flat_is_a_private_copy():
    for tree in (W, B, {"b": B}):
        assert not np.shares_memory(pack(tree).flat, W)
        assert not np.shares_memory(pack(tree).flat, B)
    shapes = {"W": (2, 3)}
    vector = np.arange(6.0)
    assert not np.shares_memory(pack_as(vector, shapes).flat, vector)


LAYOUTS = {
    "c-order": lambda a: np.ascontiguousarray(a),
    "fortran-order": lambda a: np.asfortranarray(a),
    "transposed-view": lambda a: np.ascontiguousarray(a.T).T,
    "every-other": lambda a: np.repeat(a, 2, axis=0)[::2],
    "backwards": lambda a: np.ascontiguousarray(a[::-1, ::-1])[::-1, ::-1],
    "read-only": lambda a: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape),
    "big-endian": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "unaligned": lambda a: np.frombuffer(b"x" + a.tobytes(), np.uint8)[1:].view(a.dtype).reshape(a.shape),
    "broadcast": lambda a: np.broadcast_to(a[0], a.shape) + 0 * a,
    "matrix": lambda a: a.view(type("Sub", (np.ndarray,), {})),
}


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "i4", "i8", "u2", "u8"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_and_dtypes(layout, dtype):
    array = np.arange(1, 13).reshape(3, 4).astype(dtype)
    laid_out = LAYOUTS[layout](array)
    if layout != "broadcast":
        np.testing.assert_array_equal(laid_out, array)
    packed = pack({"a": laid_out, "b": B})
    np.testing.assert_array_equal(packed.flat, np.concatenate([np.asarray(laid_out).ravel(), B]))
    assert packed.flat.dtype == np.dtype(np.float64)
    assert packed.flat.dtype.isnative
    assert packed.dtypes["a"] == laid_out.dtype


def test_small_dtypes_are_promoted_exactly():
    mixed = {
        "half": np.array([1.0009765625, 65504.0], np.float16), "byte": np.array([-128, 127], np.int8),
        "single": np.array([1.00000012, 3e38], np.float32), "int": np.array([2**53, -(2**31)]),
    }  # fmt: skip
    np.testing.assert_array_equal(
        pack(mixed).flat, [float(value) for array in mixed.values() for value in array.tolist()]
    )


def test_mapping_that_is_no_dict():
    packed = pack(MappingProxyType({"W": W, "b": B}))
    back = packed.unpack(packed.flat)
    assert list(back) == ["W", "b"]
    np.testing.assert_array_equal(back["W"], W)


def test_two_arrays_of_one_name():
    with pytest.raises(ValueError, match=r"params: two arrays are called a\.b"):
        pack({"a": {"b": 1.0}, "a.b": 2.0})


NO_NUMBERS = [None, "text", b"bytes", 1j, True, object(), {1, 2}, np.array(["a"]), np.datetime64(0, "s")]


@pytest.mark.parametrize("bad", NO_NUMBERS, ids=lambda bad: type(bad).__name__)
def test_leaf_that_is_no_real_number(bad):
    with pytest.raises(TypeError, match=r"params: a\[1\]: expected real numbers"):
        pack({"a": [1.0, bad]})


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_leaf_that_is_not_finite(bad):
    array = W.copy()
    array[1, 2] = array[1, 1] = bad
    with pytest.raises(ValueError, match=rf"things: W: {bad} at index \[1, 1\]; expected finite"):
        pack({"b": B, "W": array}, "things")
    assert pack({"W": array}, finite=False).flat[4] == pytest.approx(bad, nan_ok=True)


# ---- pack_as

SHAPES = {"W": (2, 3), "b": (3,)}
AS = {
    "dict": {"W": W, "b": B},
    "dict-in-another-order": {"b": B, "W": W},
    "list": [W, B],
    "tuple": (W, B),
    "namedtuple": Layer(W, B),
    "nested": {"layer": [W, B]},
    "list-of-lists": [[W], [B]],
    "flat": np.concatenate([W.ravel(), B]),
    "flat-of-float32": np.concatenate([W.ravel(), B]).astype(np.float32),
}


@pytest.mark.parametrize("tree", AS.values(), ids=AS)
def test_pack_as_puts_every_tree_in_one_order(tree):
    packed = pack_as(tree, SHAPES)
    np.testing.assert_array_equal(packed.flat, np.concatenate([W.ravel(), B]))
    assert packed.shapes == SHAPES
    assert list(packed.shapes) == ["W", "b"]
    assert list(packed.dtypes) == ["W", "b"]


@pytest.mark.parametrize("tree", AS.values(), ids=AS)
def test_pack_as_goes_back_to_the_tree_it_was_given(tree):
    packed = pack_as(tree, SHAPES)
    back = packed.unpack(packed.flat)
    assert_same_tree(back, tree)
    numbers = np.arange(9.0) * 7
    again = pack_as(packed.unpack(numbers), SHAPES)
    np.testing.assert_array_equal(again.flat, numbers)


def test_pack_as_notes_the_dtype_of_each_array():
    assert pack_as({"b": B.astype("f4"), "W": W}, SHAPES).dtypes == {"W": np.dtype("f8"), "b": np.dtype("f4")}
    assert pack_as([W.astype("f2"), B], SHAPES).dtypes == {"W": np.dtype("f2"), "b": np.dtype("f8")}
    assert set(pack_as(np.zeros(9, "f4"), SHAPES).dtypes.values()) == {np.dtype("f4")}


@pytest.mark.parametrize("tree", [{"W": W, "b": B}, [W, B], np.arange(9.0)], ids=["dict", "list", "vector"])
def test_late_entries_are_copied_when_they_are_first_needed(tree):
    tree = copy(tree)
    packed = pack_as(tree, {"W": (2, 3), "b": (3,)}, late=True)
    for array in leaves(tree):
        array += 1.0
    expected = packed.flat.copy()
    np.testing.assert_array_equal(expected, np.concatenate([array.ravel() for array in leaves(tree)]))
    for array in leaves(tree):
        array += 1.0
    np.testing.assert_array_equal(packed.flat, expected)
    with pytest.raises(ValueError, match="expected"):
        pack_as([W], {"W": (2, 3), "b": (3,)}, late=True)


def test_names_win_over_positions():
    square = {"A": (2, 2), "B": (2, 2)}
    first, second = np.zeros((2, 2)), np.ones((2, 2))
    np.testing.assert_array_equal(pack_as({"B": second, "A": first}, square).flat, [0, 0, 0, 0, 1, 1, 1, 1])
    np.testing.assert_array_equal(pack_as([second, first], square).flat, [1, 1, 1, 1, 0, 0, 0, 0])


def test_a_vector_is_itself_where_one_vector_is_expected():
    packed = pack_as(B, {"b": (3,)})
    assert packed.shapes == {"b": (3,)}
    np.testing.assert_array_equal(packed.flat, B)


def test_one_array_may_be_given_bare():
    np.testing.assert_array_equal(pack_as(W, {"W": (2, 3)}).flat, W.ravel())
    np.testing.assert_array_equal(pack_as(W.ravel(), {"W": (2, 3)}).flat, W.ravel())


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"W": W}, "missing b"),
        ({"W": W, "b": B, "c": B}, "unexpected c"),
        ({"W": W, "B": B}, "missing b; unexpected B, did you mean 'b'"),
        ({"W": W.T, "b": B}, r"W: expected the shape \(2, 3\), got \(3, 2\); W looks transposed"),
        ({"W": B, "b": W}, r"W: expected the shape \(2, 3\), got \(3,\); W and b look exchanged"),
        ({"W": W, "b": B[np.newaxis]}, r"b: .* got \(1, 3\); b has one axis of length 1 too many"),
        ({"W": W, "b": B[:2]}, r"b: expected the shape \(3,\), got \(2,\)"),
        ([W], r"expected 2 arrays \(W, b\), got 1"),
        ([W, B, B], r"expected 2 arrays \(W, b\), got 3"),
        ([B, W], r"W \(at \[0\]\): expected the shape \(2, 3\), got \(3,\)"),
        ({"l": [W, B[:2]]}, r"b \(at l\[1\]\): expected the shape \(3,\), got \(2,\)"),
        (np.zeros(8), r"flat vector of 9 entries \(W, b\), got the shape \(8,\)"),
        (np.zeros((9, 1)), "expected 2 arrays"),
        ({}, "missing W, b"),
        ({"W": W * np.nan, "b": B}, r"W: nan at index \[0, 0\]"),
        ([W, np.array([1.0, 2.0, np.inf])], r"\[1\]: inf at index \[2\]"),
        (np.array([0.0] * 7 + [np.nan, 0.0]), r"b: nan at index \[1\]"),
    ],
)
def test_what_does_not_fit_is_named(tree, message):
    with pytest.raises(ValueError, match=rf"^things: .*{message}"):
        pack_as(tree, SHAPES, "things")


def test_list_of_numbers_where_an_array_is_expected():
    """A matrix as nested lists, or a flat list: the message should say to make an array of it."""
    for tree in ({"W": W.tolist(), "b": B}, [W.tolist(), B.tolist()], [0.0] * 9):
        with pytest.raises(ValueError, match=r"np\.array"):
            pack_as(tree, SHAPES)


# ---- copy, split


@trees
def test_copy_is_the_same_tree_of_other_arrays(tree):
    again = copy(tree)
    assert_same_tree(again, float(tree) if isinstance(tree, np.float64) else tree)
    for old, new in zip(leaves(tree), leaves(again), strict=True):
        if isinstance(old, np.ndarray):
            assert not np.shares_memory(old, new)
            assert new.flags.writeable


@pytest.mark.parametrize("dtype", ["f2", "f4", "i8"])
def test_copy_keeps_dtypes(dtype):
    assert copy([W.astype(dtype)])[0].dtype == np.dtype(dtype)


def test_parts_are_where_the_arrays_lie():
    found = list(parts({"a": (2, 2), "none": (0, 3), "b": (), "c": (2,)}))
    assert found == [
        ("a", slice(0, 4), (2, 2)), ("none", slice(4, 4), (0, 3)), ("b", slice(4, 5), ()), ("c", slice(5, 7), (2,))
    ]  # fmt: skip


def test_split_gives_views():
    flat = np.arange(7.0)
    parts = dict(split(flat, {"a": (2, 2), "b": (), "c": (2,)}))
    np.testing.assert_array_equal(parts["a"], [[0, 1], [2, 3]])
    assert parts["b"] == 4.0
    parts["c"][...] = -1
    np.testing.assert_array_equal(flat[5:], -1)


@pytest.mark.parametrize(
    ("shapes", "got", "says"),
    [
        ({"W": (4, 3), "b": (3,)}, [(4, 3), (5,)], "b has one entry per sample: summed over the wrong axis"),
        ({"W": (4, 3), "b": (3,)}, [(4, 3), (5, 3)], "b is not summed over the 5 samples"),
        ({"W1": (4, 3), "W2": (3, 4)}, [(3, 4), (4, 3)], "W1 and W2 look exchanged, or both transposed"),
        ({"W1": (4, 3), "W2": (3, 2)}, [(3, 2), (4, 3)], "W1 and W2 look exchanged"),
        ({"W1": (4, 3), "W2": (3, 2)}, [(3, 4), (3, 2)], "W1 looks transposed"),
        ({"W": (4, 3), "b": (3,)}, [(4, 3), (2,)], r"got \(2,\)"),
    ],
)
def test_the_shape_of_a_gradient_tells_the_mistake(shapes, got, says):
    tree = {name: np.ones(shape) for name, shape in zip(shapes, got, strict=True)}
    with pytest.raises(ValueError, match=rf"{says}$"):
        pack_as(tree, shapes, "gradient", samples=5)
