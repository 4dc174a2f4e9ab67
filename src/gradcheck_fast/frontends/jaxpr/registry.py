"""Where the primitives of JAX that are known are collected: each family registers its own when it is imported."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from gradcheck_fast.frontends.numpy_trace.recording import Recording

#: A function of the equation and of its inputs. It returns what the equation does: an array, or several.
Implementation = Callable[..., Any]


class Machine(Protocol):
    """What evaluates equations, as far as those that contain others need to know it."""

    recording: Recording
    #: Whether an index is out of bounds where the function promises that none is.
    has_index_outside: bool

    def run(self, jaxpr: Any, args: Sequence[Any]) -> list[Any]:
        """Evaluates a jaxpr, open or closed."""

    def traced(self, equation: Any, x: Sequence[Any]) -> list[Any]:
        """Evaluates an equation by its rule."""

    def bound(self, equation: Any, x: Sequence[Any]) -> list[Any]:
        """Evaluates an equation by JAX; where its inputs are traced, as a step that is differenced by itself."""

    def is_constant(self, equation: Any, x: Any) -> bool:
        """Whether what a ``stop_gradient`` of an array returns is taken for constant."""

    def plain(self, x: Any, dtype: Any, what: str) -> Any:
        """Returns the numbers of an array at the parameters, for a use that has no slope; the use is noted."""


class Equation(NamedTuple):
    """An equation of a jaxpr while it is evaluated.

    Attributes
    ----------
    machine : Machine
    equation : JaxprEqn
    """

    machine: Machine
    equation: Any

    @property
    def params(self) -> Mapping[str, Any]:
        """The parameters of the primitive."""
        return self.equation.params  # type: ignore[no-any-return]

    @property
    def recording(self) -> Recording:
        """What writes the steps down."""
        return self.machine.recording

    @property
    def name(self) -> str:
        """The name of the primitive."""
        return str(self.equation.primitive.name)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the first output."""
        return tuple(self.equation.outvars[0].aval.shape)

    @property
    def dtype(self) -> Any:
        """The dtype of the first output."""
        return self.equation.outvars[0].aval.dtype

    @property
    def dtypes(self) -> tuple[Any, ...]:
        """The dtypes of the inputs."""
        return tuple(variable.aval.dtype for variable in self.equation.invars)


class Rule(NamedTuple):
    """What is known of a primitive.

    Attributes
    ----------
    function : callable
    is_plain : bool
        Whether the function also evaluates plain arrays as JAX does, so that nothing is compiled for them.
    counts : bool
        Whether it takes integers that depend on the parameters, such as the number of entries of a mask.
    parts : str
        What it does with complex numbers: "each": the same with both parts, for it moves or adds entries; "": see
        `complex_numbers`.
    is_call : bool
        Whether it evaluates a jaxpr of its own.
    """

    function: Implementation
    is_plain: bool = False
    counts: bool = False
    parts: str = ""
    is_call: bool = False


#: By the name of the primitive.
RULES: dict[str, Rule] = {}


def rule(
    *names: str, plain: bool = False, counts: bool = False, parts: str = "", call: bool = False
) -> Callable[[Implementation], Implementation]:
    """Registers what follows for primitives of these names."""

    def register(function: Implementation) -> Implementation:
        for name in names:
            RULES[name] = Rule(function, plain, counts or call, parts, call)
        return function

    return register
