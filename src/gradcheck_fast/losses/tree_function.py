"""Functions of trees that give trees: their arguments, their outputs, and products with their outputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

import numpy as np

from gradcheck_fast.inputs.arrays import DOUBLE, Precision, coarsest, digest, is_floating
from gradcheck_fast.inputs.trees import Packed, Tree, pack, pack_as, parts, walk
from gradcheck_fast.numerical.gradient import EPSILON

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Trees by name.
Trees: TypeAlias = dict[str, Tree]
#: If outputs differ from call to call by less than this part of the largest of their array, they differ by noise alone.
LAST_BITS = 1e-8
#: Where they are of a coarse precision, that is this many of its roundings.
COARSE_LAST_BITS = 4.0
#: So they do if they differ by less than this many roundings of the largest parameter or output: in an array all
#: numbers may be what is left of larger ones that cancel.
ROUNDINGS = 1e4
#: How many characters of what a function raises are quoted.
MOST_QUOTED = 200
#: How many products are kept.
KEPT = 1_000_000


@runtime_checkable
class Around(Protocol):
    """A function around one of the user's, which can be put around another version of that, as one that records."""

    users_function: Callable[..., Any]

    def with_function(self, function: Callable[..., Any], /) -> Callable[..., Any]:
        """Gives the same around another version of the user's function."""


class TreeFunction:
    """A function with its arguments. Arguments of floating-point numbers are its parameters; the others stay fixed.

    Parameters
    ----------
    f : callable
        The user's function, or one `Around` it.
    inputs : tuple, or tree of arrays
        The arguments; if it is no tuple, it is the only one.
    names : sequence of str, optional
        What reports call the arguments.
    called : str
        What errors call the function.

    Attributes
    ----------
    users_function : callable
        The user's function itself.
    params, in_double : dict
        The parameters, by the names that reports give them: as they were given, and in float64.
    at : Packed
        The parameters as a flat vector.
    own_outputs : dict
        What the function gives for `params`, under the name ``output``.
    own : Packed
        `own_outputs` as a flat vector.
    outputs : Packed
        What the function gives for `in_double`, as a flat vector; `own` if the function computes in one precision only.
    computes_in : Precision
        float64; or, if the function does not compute in float64, the coarsest precision of what it takes and gives.
    refusal : str
        How it is known that the function computes in one precision only; empty if it computes in float64.
    notes : tuple of str
        What was noticed when the function was called twice.
    writers : list of str
        The names of the functions that were seen to write into their arguments.
    """

    def __init__(
        self, f: Callable[..., Tree], inputs: Any, names: Sequence[str] | None = None, called: str = "f"
    ) -> None:
        require_callable(called, f)
        self._f, self._called = f, called
        self.users_function = f.users_function if isinstance(f, Around) else f
        self._looked_at: set[str] = set()
        self.writers: list[str] = []
        self._many = isinstance(inputs, tuple)
        given = deepcopy(inputs if self._many else (inputs,))
        if names is None:
            names = [f"inputs[{k}]" for k in range(len(given))] if self._many else ["inputs"]
        self._given: Trees = dict(zip(names, given, strict=True))
        self.params: Trees = {name: tree for name, tree in self._given.items() if _is_floating(name, tree)}
        if not self.params:
            raise ValueError("inputs: none is an array of floating-point numbers, so there is nothing to perturb")
        self.at = pack(self.params, called)
        self.in_double: Trees = self.at.unpack(self.at.flat)
        self.own_outputs = self._call(self.params)
        self.own = pack(self.own_outputs, called)
        self.computes_in, self.refusal = DOUBLE, ""
        self.outputs = self._outputs_in_double()
        if self.refusal:
            self.computes_in = coarsest((*self.at.precisions, *self.own.precisions))
        again = self.params if self.refusal else self.in_double
        self.notes = self._noticed(pack_as(self._call(again), self.outputs.shapes, called, finite=False))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all arguments."""
        return tuple(self._given)

    def flat(self, params: Trees) -> NDArray[np.float64]:
        """Gives all outputs in one vector."""
        return pack_as(self._call(params), self.outputs.shapes, self._called, finite=False).flat

    def version(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Gives the function with another version of the user's in it, as one that records what it does."""
        return self._f.with_function(function) if isinstance(self._f, Around) else function

    def call(self, what: str, function: Callable[..., Any], params: Trees, *first: Any) -> Any:
        """Calls a function with copies: of the arguments `first`, and of its own arguments, with these parameters.

        The first call of each function, known by the name `what`, also shows whether it writes into its arguments.
        """
        given = [*first, *self.arguments(params)]
        arguments = deepcopy(given)
        found = function(*arguments)
        if what not in self._looked_at:
            self._looked_at.add(what)
            before, after = ([leaf for _, leaf in walk(tree)] for tree in (given, arguments))
            if len(before) != len(after) or any(map(_differ, before, after)):
                self.writers.append(what)
        return found

    def arguments(self, params: Trees) -> list[Any]:
        """Gives the arguments of the function, with these parameters, and copies of the others."""
        return [params[name] if name in params else deepcopy(tree) for name, tree in self._given.items()]

    def by_name(self, what: str, given: Any) -> Trees:
        """Takes what is `given` for each argument, and keeps that of the parameters, by their names."""
        if not self._many:
            return {"inputs": given}
        if not isinstance(given, (tuple, list)) or len(given) != len(self._given):
            got = f"{len(given)}" if isinstance(given, (tuple, list)) else f"a {type(given).__name__}"
            raise ValueError(f"{what}: expected a tuple of {len(self._given)}, one for each input, got {got}")
        return {name: tree for name, tree in zip(self._given, given, strict=True) if name in self.params}

    def as_given(self, params: Trees) -> Any:
        """Does the inverse of `by_name`: gives one tree for each argument, None for one that is no parameter."""
        trees = tuple(params.get(name) for name in self._given)
        return trees if self._many else trees[0]

    def after_f(self, what: str, function: Callable[..., Any], params: Trees, first: Tree) -> Any:
        """Calls the function, and then its derivative, which may use what the function has kept."""
        self._call(params)
        return self.call(what, function, params, first)

    def _outputs_in_double(self) -> Packed:
        """Gives the outputs in float64; or, if the function refuses or rounds float64, those in its own precision."""
        try:
            found = self._call(self.in_double)
        except Exception as error:
            if not coarsest(self.at.precisions).is_coarse:
                raise
            self.refusal = f"it refuses float64: {_first_line(error.__cause__ or error)}"
            return self.own
        outputs = pack(found, self._called)
        coarse = next((name for name, dtype in outputs.dtypes.items() if Precision.of(dtype).is_coarse), None)
        if coarse is None:
            return outputs
        self.refusal = f"{coarse} is {outputs.dtypes[coarse].name} where float64 is given"
        return self.own

    def _call(self, params: Trees) -> Trees:
        return {"output": self.call(self._called, self._f, params)}

    def _noticed(self, again: Packed) -> tuple[str, ...]:
        """Compares the outputs with those of another call.

        If they differ in their last bits, a note says so; if by more, a ValueError is raised.
        """
        apart = np.abs(again.flat - self.outputs.flat)
        if not apart.any():
            return ()
        given = max(np.abs(self.at.flat).max(initial=0.0), np.abs(self.outputs.flat).max(initial=0.0))
        for name, part, _ in parts(self.outputs.shapes):
            largest = apart[part].max(initial=0.0)
            few = LAST_BITS if not self.refusal else COARSE_LAST_BITS * self.computes_in.eps
            if largest > max(few * np.abs(self.outputs.flat[part]).max(initial=0.0), ROUNDINGS * EPSILON * given):
                raise ValueError(
                    f"{self._called}: {name} gives other numbers each time, by {largest:.2g}; without what is random "
                    "in it, it can be checked"
                )
        said = f"the last bits of {self._called} differ from call to call, by up to {apart.max():.2g}"
        return (f"{said}: this was taken for noise",)


class Products:
    """The products of a cotangent with a function's outputs, one for each array of outputs.

    One call of the function gives all of them. They are kept, for they are asked for one after another.

    Parameters
    ----------
    function : TreeFunction
    cotangent : ndarray, shape (size,)
    """

    def __init__(self, function: TreeFunction, cotangent: NDArray[np.float64]) -> None:
        self._function = function
        self._parts = {name: (part, cotangent[part]) for name, part, _ in parts(function.outputs.shapes)}
        self._known: dict[bytes, dict[str, float]] = {}

    def loss(self, name: str) -> Product:
        """Gives the product with the array of that name as a loss; for the name ``""``, the product with all arrays."""
        return Product(self, name)

    def of(self, name: str, params: Trees) -> float:
        """Gives the product with the array of that name at some parameters; for the name ``""``, that with all."""
        from hashlib import blake2b  # only products wait for its import

        key = blake2b(digest_size=16)
        for _, leaf in walk(params) if len(self._parts) > 1 else ():
            key.update(np.ascontiguousarray(leaf).data)
        found = self._known.get(key.digest()) if len(self._parts) > 1 else None
        if found is None:
            flat = self._function.flat(params)
            found = {own: float(v @ flat[part]) for own, (part, v) in self._parts.items()}
            if len(self._parts) > 1:
                if len(self._known) * len(found) >= KEPT:
                    self._known.clear()
                self._known[key.digest()] = found
        return found[name] if name else sum(found.values())

    def of_arrays(self, name: str, f: Callable[..., Any], params: Trees) -> Any:
        """Gives what `of` gives, with another version of the function, which may return arrays of any kind."""
        terms: list[Any] = []
        found = walk({"output": self._function.version(f)(*self._function.arguments(params))})
        for (own, (_, v)), (_, leaf) in zip(self._parts.items(), found, strict=True):
            if name in ("", own):
                terms.append(v @ np.ravel(leaf))
        return sum(terms[1:], start=terms[0])

    @property
    def users_function(self) -> Callable[..., Any]:
        """The function itself."""
        return self._function.users_function

    @property
    def cotangents(self) -> dict[str, NDArray[np.float64]]:
        """The cotangent of each array of outputs, as a vector, by the name of the array."""
        return {name: v for name, (_, v) in self._parts.items()}

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_known": {}}


class Product:
    """The product of a cotangent with one array of a function's outputs, or with all, as a loss.

    Parameters
    ----------
    products : Products
    name : str
        The name of the array; ``""`` for all.

    Attributes
    ----------
    users_function : callable
        The function of which it is a product.
    """

    def __init__(self, products: Products, name: str) -> None:
        self._products, self._name = products, name
        self.users_function = products.users_function

    def __call__(self, params: Trees) -> float:
        return self._products.of(self._name, params)

    def with_function(self, f: Callable[..., Any]) -> Callable[[Trees], Any]:
        """Gives the same product of another version of the user's function, as one that records what it does."""
        return lambda params: self._products.of_arrays(self._name, f, params)


class Outputs:
    """All outputs of a function, as a list of arrays, or of what stands for arrays in a version of the function.

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

    def __call__(self, params: Trees) -> list[Any]:
        return self.with_function(self.users_function)(params)

    def with_function(self, f: Callable[..., Any]) -> Callable[[Trees], list[Any]]:
        """Gives the outputs of another version of the user's function, as one that records what it does."""
        own = self._function.version(f)
        return lambda params: [leaf for _, leaf in walk({"output": own(*self._function.arguments(params))})]


def _differ(before: Any, after: Any) -> bool:
    """Tells whether two arrays of numbers differ in some bit. Anything else is taken to be unchanged."""
    is_known = isinstance(before, np.ndarray) and (before.dtype.kind in "biufc" or is_floating(before.dtype))
    return is_known and digest(before) != digest(np.asarray(after))


def _first_line(error: BaseException) -> str:
    """Says what was raised, in one line."""
    said = str(error).partition("\n")[0]
    return f"{type(error).__name__} ({said[:MOST_QUOTED]}{'…' * (len(said) > MOST_QUOTED)})"


def _is_floating(name: str, tree: Tree) -> bool:
    """Tells whether all arrays of an argument are of floating-point numbers. Raises a TypeError if only some are."""
    dtypes = {path: np.asarray(leaf).dtype for path, leaf in walk(tree, name)}
    floating = [path for path, dtype in dtypes.items() if is_floating(dtype)]
    other = next((path for path in dtypes if path not in floating), None)
    if floating and other is not None:
        raise TypeError(f"{other}: no floating-point numbers, unlike {floating[0]}; make it an input of its own")
    return bool(floating)


def require_callable(what: str, value: object) -> None:
    """Raises a TypeError unless `value` can be called."""
    if not callable(value):
        raise TypeError(f"{what}: expected a function, got {value!r}")
