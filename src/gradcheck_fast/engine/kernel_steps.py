"""Says how the kernels over tensors run the steps of each primitive."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from gradcheck_fast.kernels import _kernels

if TYPE_CHECKING:
    from gradcheck_fast.program.program import Step


class Kernel(NamedTuple):
    """How kernels run a step: the name of their primitive, and its attributes as numbers (see ``csrc/tensors``).

    `cached` is how many arrays its value keeps beside itself, and `kinks` whether its slopes jump somewhere.
    """

    primitive: str
    operation: int = 0
    integers: tuple[int, ...] = ()
    reals: tuple[float, ...] = ()
    cached: int = 0
    kinks: bool = False


def _affine(step: Step) -> Kernel:
    terms = step.attributes["terms"]
    return Kernel("affine", 0, (len(terms), *(_kernels.TERMS[kind] for kind in terms)), (step.attributes["offset"],))


def _elementwise(step: Step) -> Kernel:
    operation = _kernels.ELEMENTWISE[step.name]
    return Kernel("elementwise", operation.number, cached=operation.cached, kinks=len(operation.kinks) > 0)


def _pairwise(step: Step) -> Kernel:
    return Kernel("pairwise", _kernels.PAIRWISE[step.name])


def _cost(step: Step) -> Kernel:
    operation = _kernels.COSTS[step.name]
    return Kernel(
        "cost",
        operation.number,
        (),
        (step.attributes["constant"], step.attributes["scale"]),
        operation.cached,
        operation.kink,
    )


#: How kernels run a step, by the name of its primitive.
KERNELS: Mapping[str, Callable[[Step], Kernel]] = {
    "affine": _affine,
    "softmax": lambda step: Kernel("softmax"),
    "where": lambda step: Kernel("where"),
    **dict.fromkeys(_kernels.ELEMENTWISE, _elementwise),
    **dict.fromkeys(_kernels.PAIRWISE, _pairwise),
    **dict.fromkeys(_kernels.COSTS, _cost),
}
