"""Functions of trees with complex arrays, and their derivatives, as functions of trees of pairs of real arrays."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from gradcheck_fast.inputs.complex_pairs import CONVENTIONS, JAX, PYTORCH, ComplexPairs, called, has_complex, is_complex

if TYPE_CHECKING:
    from gradcheck_fast.inputs.complex_pairs import Convention
    from gradcheck_fast.inputs.trees import Tree

#: What reports call the outputs of a function.
OUTPUT = "output"


class ComplexFunction:
    """A function whose arguments or outputs have complex arrays, as one with pairs in their place.

    Parameters
    ----------
    f : callable
        The user's.
    inputs : tuple, or tree of arrays
        Its arguments; if it is no tuple, it is the only one.

    Attributes
    ----------
    users_function : callable
        The user's function itself.
    inputs : tuple, or tree of arrays
        The arguments, with pairs.
    """

    def __init__(self, f: Callable[..., Any], inputs: Any) -> None:
        self.users_function = f
        self._many = isinstance(inputs, tuple)
        given = inputs if self._many else (inputs,)
        names = [f"inputs[{k}]" for k in range(len(given))] if self._many else ["inputs"]
        self._forms = [
            ComplexPairs(tree, name, is_part=True) if has_complex(tree) else None
            for name, tree in zip(names, given, strict=True)
        ]
        split = tuple(tree if form is None else form.split(tree) for form, tree in zip(self._forms, given, strict=True))
        self.inputs = split if self._many else split[0]
        self._given = dict(zip(names, given, strict=True))
        self._output: Any = None
        self._outputs: ComplexPairs | None = None

    def __call__(self, *trees: Tree) -> Tree:
        return self._split(called(self.users_function, self._forms, list(trees)))

    def with_function(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Returns the same of another version of the user's function, as one that records what it does."""

        def of_pairs(*trees: Tree) -> Tree:
            given = [t if form is None else form.join(t) for form, t in zip(self._forms, trees, strict=True)]
            return self._split(function(*given))

        return of_pairs

    def vjp(self, product: Callable[..., Any], convention: Convention) -> Callable[..., Any]:
        """Returns the vector-Jacobian product of this function that the user's `product` is by a convention."""

        def of_pairs(cotangent: Tree, *trees: Tree) -> Any:
            own = cotangent if self._outputs is None else self._outputs.gradient(cotangent, convention)
            found = called(product, self._forms, list(trees), own)
            if not self._many:
                return self._derivatives(0, found, convention)
            if not isinstance(found, (tuple, list)) or len(found) != len(self._forms):
                return found  # which is refused
            return tuple(self._derivatives(k, part, convention) for k, part in enumerate(found))

        return of_pairs

    def jvp(self, product: Callable[..., Any]) -> Callable[..., Any]:
        """Returns the Jacobian-vector product of this function that the user's `product` is."""

        def of_pairs(tangents: Any, *trees: Tree) -> Any:
            given = tangents if self._many else (tangents,)
            own = tuple(
                t if form is None or t is None else form.join(t) for form, t in zip(self._forms, given, strict=True)
            )
            return self._split(called(product, self._forms, list(trees), own if self._many else own[0]))

        return of_pairs

    def jacobian(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Returns the user's function that gives a Jacobian, as one of pairs. What it gives stays as it is."""
        return lambda *trees: called(function, self._forms, list(trees))

    def form_of(self, pairs: dict[str, Tree]) -> ComplexPairs:
        """Returns the form of what a report has of some inputs, or of the ``output``, by name."""
        return ComplexPairs({name: self._output if name == OUTPUT else self._given[name] for name in pairs})

    @property
    def has_complex_outputs(self) -> bool:
        """Whether there are complex arrays in what the function has given."""
        return self._outputs is not None

    @property
    def complex_inputs(self) -> tuple[str, ...]:
        """The names of the complex arrays among the arguments, as reports have them."""
        pairs = zip(self._given.items(), self._forms, strict=True)
        return tuple(name for (own, tree), form in pairs if form is not None for name in _names(own, tree, form))

    @property
    def complex_outputs(self) -> tuple[str, ...]:
        """The names of those among what the function has given."""
        return () if self._outputs is None else _names(OUTPUT, self._output, self._outputs)

    def conventions(self) -> tuple[Convention, ...]:
        """Returns the conventions that a vector-Jacobian product may follow.

        The halves of Wirtinger's derivatives cancel where arguments and outputs are complex, and where the arguments
        are real, nobody has them.
        """
        are_complex = [form is not None and len(form.names) == len(form.shapes) for form in self._forms]
        is_throughout = all(are_complex) and self._outputs is not None
        return (PYTORCH, JAX) if is_throughout or not any(self._forms) else CONVENTIONS

    def _split(self, found: Tree) -> Tree:
        """Splits the outputs. Those of the first call show the form of all."""
        if self._output is None:
            self._output = found
            self._outputs = ComplexPairs(found, OUTPUT, is_part=True) if has_complex(found) else None
        return found if self._outputs is None else self._outputs.split(found)

    def _derivatives(self, place: int, gradient: Any, convention: Convention) -> Tree:
        form = self._forms[place]
        return gradient if form is None else form.derivatives(gradient, convention, "vjp")[0]


def _names(own: str, tree: Tree, form: ComplexPairs) -> tuple[str, ...]:
    """Gives the names of the complex arrays in a tree, which begin with its own."""
    if is_complex(tree):
        return (own,)
    return tuple(own + name if name.startswith("[") else f"{own}.{name}" for name in form.names)


def gives_complex(f: Callable[..., Any], inputs: Any) -> bool:
    """Calls a function once, and tells whether there are complex arrays in what it gives."""
    try:
        return has_complex(f(*deepcopy(inputs if isinstance(inputs, tuple) else (inputs,))))
    except Exception:  # which was raised before, and is said
        return False
