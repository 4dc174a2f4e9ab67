"""Runs of PyTorch code: what is drawn at random in them, in which numbers they compute, and their gradients."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import MethodType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from gradcheck_fast.adapters.torch.copies import precision_of
from gradcheck_fast.inputs.arrays import DOUBLE, Precision, coarsest

#: Operations whose results are random numbers, of which PyTorch takes no derivative.
_DRAWS = frozenset(
    ("bernoulli", "binomial", "cauchy", "exponential", "geometric", "log_normal", "multinomial", "normal", "poisson",
     "rand", "rand_like", "randint", "randint_like", "randn", "randn_like", "random", "randperm", "uniform")
)  # fmt: skip
#: Numbers of more bytes than this are taken for what a gradient is meant to be computed in.
_COARSE_BYTES = 2


class Run(NamedTuple):
    """What of a run can be differentiated: outputs with respect to leaves, times cotangents (None: one number)."""

    outputs: Sequence[torch.Tensor]
    leaves: Sequence[torch.Tensor]
    cotangents: Sequence[torch.Tensor] | None = None


class _Mode(TorchDispatchMode):  # type: ignore[misc]
    """What is called for every operation that PyTorch does on this thread."""

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()
        if "torch._dynamo" in sys.modules:  # the compiler, if it is there, must not compile this
            left_alone = torch._disable_dynamo(type(self).__torch_dispatch__)
            self.__dict__["__torch_dispatch__"] = MethodType(left_alone, self)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """By default PyTorch imports its compiler here, which takes a second."""
        return False


class Observer(_Mode):
    """Looks at the operations that PyTorch does on this thread.

    Attributes
    ----------
    draws : list of tensor
        The random numbers that were drawn, one operation after another.
    unfrozen : str
        The last operation that drew numbers which are not its result, if there was one.
    computed_in : Precision
        The coarsest numbers that were computed from others, where these have no more than 16 bits.
    leaves : dict of tensor
        Those that require a gradient, by id.
    """

    def __init__(self) -> None:
        super().__init__()
        self.draws: list[torch.Tensor] = []
        self.unfrozen = ""
        self.computed_in: Precision = DOUBLE
        self.leaves: dict[int, torch.Tensor] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = list(_tensors((args, kwargs)))
        self.leaves |= {id(tensor): tensor for tensor in given if tensor.requires_grad and tensor.is_leaf}
        drawn = _drawn_by(func)
        before = None if drawn or not _is_random(func) else _states(given)
        found = func(*args, **kwargs)
        if drawn:
            self.draws.append(drawn(found).detach().clone())
        elif before is not None and any(map(_differ, before, _states(given))):
            self.unfrozen = str(func)
        if any(tensor.is_floating_point() for tensor in given):
            results = [r for r in _tensors(found) if r.is_floating_point() and r.element_size() <= _COARSE_BYTES]
            self.computed_in = coarsest((self.computed_in, *(precision_of(result.dtype) for result in results)))
        return found


class Frozen(_Mode):
    """Gives the random numbers of another run instead of new ones, in the dtypes that are asked for.

    Raises
    ------
    ValueError
        If others are asked for than were drawn in that run.
    """

    def __init__(self, draws: Sequence[torch.Tensor]) -> None:
        super().__init__()
        self._draws = iter(draws)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        drawn = _drawn_by(func)
        if drawn is None:
            return found
        here, before = drawn(found), next(self._draws, None)
        if before is None or here.shape != before.shape:
            raise ValueError(
                f"the random numbers of {func} cannot be frozen: at other parameters, or in float64, others are asked "
                "for than in the run that gave the gradient. Without what is random in it, the loss can be checked"
            )
        here.copy_(before)
        if _name(func) == "native_dropout":
            x, p, train = args
            return x * here * (1.0 / (1.0 - p) if train and p < 1.0 else 1.0), here
        return found


class Widened(_Mode):
    """Does everything in float64, also where code says float32 or less, or holds or makes such tensors."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not _name(func) or func._schema.is_mutable or any(out.alias_info for out in func._schema.returns):
            return func(*args, **kwargs)
        return _widened(func(*_widened(args), **_widened(kwargs)))


def _widened(tree: Any) -> Any:
    """Tensors and dtypes of less than float64 made float64."""
    if isinstance(tree, torch.Tensor):
        return tree.double() if tree.is_floating_point() else tree
    if isinstance(tree, torch.dtype):
        return torch.float64 if tree.is_floating_point else tree
    if isinstance(tree, dict):
        return {key: _widened(child) for key, child in tree.items()}
    return type(tree)(map(_widened, tree)) if isinstance(tree, (tuple, list)) else tree


def _name(func: Any) -> str:
    """Without its overload; empty for what is no plain operation, such as torch.cond."""
    return func.overloadpacket.__name__ if isinstance(func, torch._ops.OpOverload) else ""


def _drawn_by(func: Any) -> Callable[[Any], torch.Tensor] | None:
    """How to read the random numbers off what an operation gives; None if that is not random numbers."""
    name = _name(func)
    if name == "native_dropout":
        return lambda found: found[1]
    return (lambda found: found) if name.rstrip("_") in _DRAWS else None


def _is_random(func: Any) -> bool:
    name = _name(func)
    return bool(name) and (torch.Tag.nondeterministic_seeded in func.tags or name == "_sample_dirichlet")


def _states(tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    """Of the random numbers of the CPU, and of the devices of tensors."""
    devices = {tensor.device for tensor in tensors if tensor.device.type == "cuda"}
    return [torch.get_rng_state(), *map(torch.cuda.get_rng_state, sorted(devices, key=str))]


def _differ(a: torch.Tensor, b: torch.Tensor) -> bool:
    return not torch.equal(a, b)


def _tensors(tree: Any) -> Iterator[torch.Tensor]:
    """The tensors among the arguments or results of an operation."""
    if isinstance(tree, torch.Tensor):
        yield tree
    elif isinstance(tree, (tuple, list, dict)):
        for child in tree.values() if isinstance(tree, dict) else tree:
            yield from _tensors(child)


def notes_on(draws: Sequence[torch.Tensor], computed_in: Precision) -> tuple[str, ...]:
    """What to say of random numbers that were frozen, and of coarse numbers on the way."""
    frozen = f"random numbers were frozen: those of the run that gave the gradient ({len(draws)} draws) are used in all"
    coarse = f"the gradient was computed in {computed_in.name} in part, and is taken to be as accurate as that"
    return (*[frozen] * bool(draws), *[coarse] * computed_in.is_coarse)


def gradients(
    run: Callable[[], Run], mode: Callable[[], AbstractContextManager[Any]] = nullcontext
) -> tuple[list[torch.Tensor | None], Any]:
    """By autograd, with respect to the leaves of a run; None for those that have no influence.

    Where PyTorch refuses to give the gradients of some leaves, as for checkpointing with use_reentrant=True, all are
    accumulated in their ``.grad``, by ``backward()``; afterwards each leaf has its ``.grad`` of before.

    Parameters
    ----------
    run : callable
        It is called again if PyTorch refuses, with the random numbers as they were.
    mode : callable
        Gives the context in which everything is done, which is returned, too.
    """
    try:
        with rng_kept(), mode() as entered:
            outputs, leaves, cotangents = run()
            return list(torch.autograd.grad(outputs, leaves, cotangents, allow_unused=True)), entered
    except RuntimeError as error:
        try:
            return _by_backward(run, mode)
        except RuntimeError:
            raise error from None


def _by_backward(
    run: Callable[[], Run], mode: Callable[[], AbstractContextManager[Any]]
) -> tuple[list[torch.Tensor | None], Any]:
    with rng_kept(), mode(), Observer() as seen:
        run()
    with rng_kept(), mode() as entered:
        outputs, leaves, cotangents = run()
        before = [(leaf, leaf.grad) for leaf in {**seen.leaves, **{id(leaf): leaf for leaf in leaves}}.values()]
        try:
            for leaf, _ in before:
                leaf.grad = None
            torch.autograd.backward(outputs, cotangents)
            return [leaf.grad for leaf in leaves], entered
        finally:
            for leaf, grad in before:
                leaf.grad = grad


@contextmanager
def with_gradients() -> Iterator[None]:
    """As in a training step, whatever is switched off around the check."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


@contextmanager
def rng_kept() -> Iterator[None]:
    """Leaves random numbers as they were: PyTorch's on all devices, NumPy's global ones and Python's."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    of_numpy, of_python = np.random.get_state(), random.getstate()  # noqa: NPY002 # that is what users may use
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        np.random.set_state(of_numpy)  # noqa: NPY002
        random.setstate(of_python)
