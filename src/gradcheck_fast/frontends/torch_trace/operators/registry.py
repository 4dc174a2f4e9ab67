"""The table of ATen's operators: what each does, said in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from gradcheck_fast.frontends.numpy_trace.recording import Recording
    from gradcheck_fast.frontends.torch_trace.held import Held

#: A rule: it takes the `Call` and the arguments of the operator, with arrays in place of tensors, and returns an array,
#: or a tuple of as many results as the operator has: None for one that is not needed.
Rule = Callable[..., Any]


class Unsupported(Exception):
    """An operator is called with settings that its rule does not know."""


class Call(NamedTuple):
    """A call of an operator.

    Attributes
    ----------
    recording : Recording
    found : tuple
        What PyTorch gave: plain arrays in place of tensors. Rules take from it what depends on no parameter, such as
        the places of maxima and random numbers.
    held : Held, optional
        Takes what the rule holds fixed, as autograd does. None: nothing is held fixed.
    """

    recording: Recording
    found: tuple[Any, ...]
    held: Held | None = None


#: The rules by the operators' names, without overloads and without the underscore of those that write in place.
RULES: dict[str, Rule] = {}
#: Operators whose results depend on no parameter, whatever they are given.
CONSTANT = frozenset(
    ("bernoulli", "empty_like", "full_like", "new_empty", "new_empty_strided", "new_full", "new_ones", "new_zeros",
     "normal", "ones_like", "poisson", "binomial", "multinomial", "rand_like", "randint_like", "randn_like",
     "zeros_like", "sym_size", "sym_stride", "sym_numel", "_has_compatible_shallow_copy_type", "is_same_size",
     "_assert_async", "_assert_tensor_metadata", "_functional_assert_async", "_nested_tensor_from_mask_left_aligned",
     "random", "uniform", "exponential", "geometric", "cauchy", "log_normal")
)  # fmt: skip


def aten(*names: str) -> Callable[[Rule], Rule]:
    """Registers the rule of the operators of these names."""

    def register(rule: Rule) -> Rule:
        for name in names:
            if name in RULES:
                raise TypeError(f"two rules for {name}")
            RULES[name] = rule
        return rule

    return register


def simple(function: Callable[..., Any], *names: str) -> None:
    """Registers a function of the arguments alone as the rule of the operators of these names."""

    def rule(call: Call, *args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    aten(*names)(rule)


#: Operators that give new tensors and also write into the arguments at these places. Their rules return both.
WRITERS: dict[str, tuple[int, ...]] = dict.fromkeys(
    ("native_batch_norm", "_native_batch_norm_legit", "cudnn_batch_norm"), (3, 4)
)
