"""Complex arrays as pairs of real ones: in trees, in functions of trees, and in gradients by one of four conventions.

Everything else in this library computes with real numbers. A complex array W is seen there as the two real arrays
``W.real`` and ``W.imag``; the user's functions get and give complex arrays.

For a real loss L of z = x + iy there are four conventions of what its gradient is (`CONVENTIONS`). PyTorch has
dL/dx + i dL/dy, the direction in which L grows most. JAX has the conjugate of that, which for L = Re f of a holomorphic
f is the complex derivative f'(z). Half of JAX's is the Wirtinger derivative by z, and half of PyTorch's is that by the
conjugate of z (Wirtinger, Zur formalen Theorie der Funktionen von mehr komplexen Veränderlichen, Math. Ann. 97, 1927).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradcheck_fast.inputs.returned import pack_gradient
from gradcheck_fast.inputs.trees import walk

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.inputs.trees import Shape, Tree

#: What follows the name of a complex array in the names of its two parts.
REAL, IMAG = "real", "imag"


class Convention(NamedTuple):
    """What is called the gradient of a real loss L by a complex number z = x + iy.

    Attributes
    ----------
    name : str
        What has it.
    formula : str
        The gradient, in terms of dL/dx and dL/dy.
    sign : float
        The sign of dL/dy in the imaginary part.
    times : float
        dL/dx is so many times the real part.
    """

    name: str
    formula: str
    sign: float
    times: float

    def pair(self, gradient: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Returns dL/dx and dL/dy."""
        return self.times * gradient.real, self.sign * self.times * gradient.imag

    def gradient(self, by_real: Any, by_imag: Any) -> NDArray[Any]:
        """Returns the gradient, given dL/dx and dL/dy.

        The cotangent of an output f, in a vjp, is the gradient by f of the loss a Re f + b Im f: in PyTorch a + ib, for
        Re(conj(v) f), and in JAX a - ib, for Re(v f).
        """
        return combined(np.asarray(by_real) / self.times, np.asarray(by_imag) * (self.sign / self.times))


PYTORCH = Convention("PyTorch", "dL/dx + i dL/dy", 1.0, 1.0)
JAX = Convention("JAX", "dL/dx - i dL/dy", -1.0, 1.0)
BY_CONJUGATE = Convention("the Wirtinger derivative by the conjugate", "(dL/dx + i dL/dy) / 2", 1.0, 2.0)
WIRTINGER = Convention("the Wirtinger derivative", "(dL/dx - i dL/dy) / 2", -1.0, 2.0)
#: All conventions, the usual ones first.
CONVENTIONS = (PYTORCH, JAX, BY_CONJUGATE, WIRTINGER)


class _Leaf(Enum):
    """What a leaf of a tree is."""

    ARRAY, NUMBER, REAL = range(3)

    @classmethod
    def of(cls, leaf: Any) -> _Leaf:
        """Tells a complex array, a complex number of Python's, and anything else apart."""
        return cls.NUMBER if isinstance(leaf, complex) else cls.ARRAY if is_complex(leaf) else cls.REAL


def is_complex(leaf: Any) -> bool:
    """Whether a leaf of a tree is a complex number or an array of them."""
    return isinstance(leaf, complex) or getattr(getattr(leaf, "dtype", None), "kind", "") == "c"


def is_nearly_real(array: NDArray[Any]) -> bool:
    """Whether the imaginary parts of complex numbers are rounding: at most √ε of the real parts, in their dtype.

    A number that is not defined (NaN) is none, whatever its imaginary part.
    """
    if array.dtype.kind != "c":
        return False
    is_small = np.abs(array.imag) <= np.finfo(array.dtype).eps ** 0.5 * np.abs(array.real)
    return bool((is_small | np.isnan(array.real)).all())


def has_complex(tree: Tree) -> bool:
    """Whether a tree has a complex leaf."""
    return any(is_complex(leaf) for _, leaf in walk(tree))


def combined(real: Any, imag: Any) -> NDArray[Any]:
    """Returns the complex array with these parts; of complex64 if they are of float32 or less.

    The parts may be arrays that record what is done to them; then it is what they make of that.

    Raises
    ------
    TypeError
        If a part is complex itself, as in complex steps.
    """
    traced = getattr(type(real), "with_imaginary", None)
    if traced is not None:
        return traced(real, imag)  # type: ignore[no-any-return]
    dtype = np.result_type(real, imag)
    if dtype.kind == "c":
        raise TypeError("complex steps are for functions of real arrays")
    found = np.empty(np.shape(real), np.complex64 if dtype.itemsize <= np.dtype(np.float32).itemsize else np.complex128)
    found.real, found.imag = real, imag
    return found


def pairs_by_name(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Returns named arrays with two in the place of each complex one, whose names end in ``.real`` and ``.imag``."""
    found: dict[str, Any] = {}
    for name, array in arrays.items():
        found |= {f"{name}.{REAL}": array.real, f"{name}.{IMAG}": array.imag} if is_complex(array) else {name: array}
    return found


def gradient_by_name(arrays: Mapping[str, Any], names: Collection[str], convention: Convention) -> dict[str, Any]:
    """Returns gradients by a convention, given the derivatives by both parts of the complex arrays of these names."""
    found: dict[str, Any] = {}
    for name, array in arrays.items():
        whole, _, part = name.rpartition(".")
        if whole not in names or part not in (REAL, IMAG):
            found[name] = array
        elif part == REAL:
            found[whole] = convention.gradient(array, arrays[f"{whole}.{IMAG}"])
    return found


class ComplexPairs:
    """Trees of one form, in which some arrays are complex, and trees with pairs of real arrays in the place of these.

    Parameters
    ----------
    tree : tree of arrays
        It shows the form, and which arrays are complex.
    name : str
        What the array is called, if the tree is a single one.
    is_part : bool
        Whether the tree is a part of another one, where it lies under its name.

    Attributes
    ----------
    names : tuple of str
        The paths of the complex arrays.
    shapes : dict
        The shape of each array, by its path.
    """

    def __init__(self, tree: Tree, name: str = "params", is_part: bool = False) -> None:
        self._form = mapped(_Leaf.of, tree)
        self._alone = name if is_complex(tree) and not is_part else ""
        leaves = {path or name: leaf for path, leaf in walk(tree)}
        self.names = tuple(path for path, leaf in leaves.items() if is_complex(leaf))
        self.shapes: dict[str, Shape] = {path: np.shape(leaf) for path, leaf in leaves.items()}

    def split(self, tree: Tree) -> Tree:
        """Returns a tree of this form with a dict of ``real`` and ``imag`` in the place of each complex array."""
        found = mapped(lambda leaf: {REAL: leaf.real, IMAG: leaf.imag} if is_complex(leaf) else leaf, tree)
        return {self._alone: found} if self._alone else found

    def join(self, pairs: Tree) -> Tree:
        """Returns the tree of complex arrays, as `split` had it. Arrays may have more axes, the first ones."""

        def joined(kind: _Leaf, part: Any) -> Any:
            if kind is _Leaf.REAL:
                return part
            found = combined(part[REAL], part[IMAG])
            return found.item() if kind is _Leaf.NUMBER and not found.ndim else found

        return _zip(joined, self._form, self._inside(pairs))

    def write_back(self, leaves: list[Any], pairs: Tree) -> None:
        """Writes into pairs what a function has written into the leaves of the tree that was joined of them."""
        parts: list[Any] = []
        _zip(lambda kind, part: parts.append((kind, part)), self._form, self._inside(pairs))
        for (kind, part), leaf in zip(parts, leaves, strict=True):
            if kind is _Leaf.ARRAY:
                for own, now in ((part[REAL], leaf.real), (part[IMAG], leaf.imag)):
                    if isinstance(own, np.ndarray) and not np.array_equal(own, now, equal_nan=True):
                        own[...] = now

    def derivatives(
        self, given: Any, convention: Convention, what: str = "gradient", beside_value: bool = False
    ) -> tuple[Tree, tuple[str, ...]]:
        """Returns the derivatives by both parts of each complex array, as a tree of pairs, and notes.

        Parameters
        ----------
        given : tree of arrays
            The gradient by one of the conventions, in any form in which `returned.pack_gradient` takes one.
        convention : Convention
        what : str
            What the gradient is called in errors.
        beside_value : bool
            Whether it stands behind the value of the loss.

        Raises
        ------
        TypeError
            If the gradient by a real array has an imaginary part.
        TypeError, ValueError
            As `pack_gradient` does.
        """
        options: dict[str, Any] = {"paths": tuple(self.shapes), "beside_value": beside_value, "finite": False}
        real, imag = (
            pack_gradient(mapped(part, given), self.shapes, **options)
            for part in (real_part, imaginary_part)
        )  # fmt: skip
        found: dict[str, Any] = {}
        by_imag = dict(imag.arrays(imag.flat))
        for name, by_real in real.arrays(real.flat):
            dtype = real.dtypes[name]
            if name in self.names:
                pair = convention.pair(combined(by_real, by_imag[name]))
                found[name] = {part: x.astype(dtype) for part, x in zip((REAL, IMAG), pair, strict=True)}
            elif by_imag[name].any():
                raise TypeError(
                    f"{what}: {name}: expected real numbers, for it is the gradient of a real array; got "
                    f"{np.result_type(dtype, np.complex64)}: is the real part meant?"
                )
            else:
                found[name] = by_real.astype(dtype)
        rest = iter(found.values())
        tree = mapped(lambda _: next(rest), self._form)
        return {self._alone: tree} if self._alone else tree, real.notes

    def gradient(self, pairs: Tree, convention: Convention) -> Tree:
        """Returns the gradient by a convention, given the derivatives by both parts of each complex array."""
        return _zip(
            lambda kind, part: part if kind is _Leaf.REAL else convention.gradient(part[REAL], part[IMAG]),
            self._form, self._inside(pairs),
        )  # fmt: skip

    def _inside(self, pairs: Tree) -> Tree:
        return pairs[self._alone] if self._alone else pairs


class ComplexLoss:
    """A function of a tree with complex arrays, as a function of the tree with pairs.

    Parameters
    ----------
    function : callable
        The user's.
    pairs : ComplexPairs
        The form of its argument.
    """

    def __init__(self, function: Callable[[Any], Any], pairs: ComplexPairs) -> None:
        self.users_function, self._pairs = function, pairs

    def __call__(self, tree: Tree) -> Any:
        return called(self.users_function, [self._pairs], [tree])

    def with_function(self, function: Callable[..., Any]) -> Callable[[Tree], Any]:
        """Returns the same of another version of the user's function, as one that records what it does."""
        return lambda tree: function(self._pairs.join(tree))


def called(function: Callable[..., Any], forms: list[ComplexPairs | None], trees: list[Tree], *first: Any) -> Any:
    """Calls a function with the complex arrays of some trees of pairs, and writes back into these what it writes.

    Parameters
    ----------
    function : callable
    forms : list of ComplexPairs or None
        The form of each argument; None for one that is given as it is.
    trees : list of tree
    *first
        What the function is given before them.
    """
    given = [tree if form is None else form.join(tree) for form, tree in zip(forms, trees, strict=True)]
    leaves = [[leaf for _, leaf in walk(tree)] for tree in given]
    found = function(*first, *given)
    for form, tree, own in zip(forms, trees, leaves, strict=True):
        if form is not None:
            form.write_back(own, tree)
    return found


def real_part(leaf: Any) -> Any:
    """Returns the real part of a number or array; anything else as it is."""
    return leaf.real if is_complex(leaf) else leaf


def imaginary_part(leaf: Any) -> Any:
    """Returns the imaginary part of a number or array; anything else as it is."""
    if is_complex(leaf):
        return leaf.imag
    if isinstance(leaf, (int, float)):
        return 0.0
    is_real = getattr(getattr(leaf, "dtype", None), "kind", "") in tuple("fiu")
    return np.zeros(np.shape(leaf)) if is_real else leaf


def mapped(function: Callable[[Any], Any], tree: Tree) -> Tree:
    """Returns the tree of what a function makes of each leaf."""
    return _zip(lambda leaf, _: function(leaf), tree, tree)


def _zip(function: Callable[[Any, Any], Any], form: Tree, tree: Tree) -> Tree:
    """Returns the tree, of the same form, of what a function makes of each leaf of `form` and what `tree` has there."""
    if isinstance(form, Mapping):
        return {key: _zip(function, child, tree[key]) for key, child in form.items()}
    if isinstance(form, (list, tuple)):
        children = [_zip(function, child, other) for child, other in zip(form, tree, strict=True)]
        if isinstance(form, tuple):
            return type(form)(*children) if hasattr(form, "_fields") else tuple(children)
        return children
    return function(form, tree)
