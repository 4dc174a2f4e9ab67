"""Runs of PyTorch code: their random numbers, the precision in which they compute, and their gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import lru_cache
from typing import Any, NamedTuple

import torch

from gradcheck_fast.adapters.torch.copies import precision_of
from gradcheck_fast.frontends.torch_trace.mode import Mode, name_of, tensors_in
from gradcheck_fast.inputs.arrays import DOUBLE, Precision, coarsest
from gradcheck_fast.inputs.random_numbers import GlobalGenerators

#: Operations whose results are random numbers and have no derivative.
_DRAWS = frozenset(
    ("bernoulli", "binomial", "cauchy", "exponential", "geometric", "log_normal", "multinomial", "normal", "poisson",
     "rand", "rand_like", "randint", "randint_like", "randn", "randn_like", "random", "randperm", "uniform")
)  # fmt: skip
#: Runs that compute no more numbers than this, of the way back and of parameters, too, take one thread.
_FEW_NUMBERS = 20_000_000
#: Numbers of at most this many bytes are coarse: a gradient computed in them may be less accurate than its own dtype.
_COARSE_BYTES = 2


class Run(NamedTuple):
    """The tensors of a run between which autograd finds gradients.

    Attributes
    ----------
    outputs, leaves : sequence of tensor
        The outputs are differentiated with respect to the leaves.
    cotangents : sequence of tensor, optional
        They are multiplied with the outputs. None: there is one output, of one number.
    """

    outputs: Sequence[torch.Tensor]
    leaves: Sequence[torch.Tensor]
    cotangents: Sequence[torch.Tensor] | None = None


class Observer(Mode):
    """Observes the operations that PyTorch does on this thread.

    Attributes
    ----------
    draws : list of tensor
        The random numbers that were drawn, in the order of the operations.
    unfrozen : str
        The last operation that drew random numbers without giving them as its result; empty if there was none.
    computed_in : Precision
        The precision of the coarsest numbers that were computed from others, if these have no more than 16 bits; that
        of float32, if PyTorch rounds a slope to that whatever the dtype; else that of float64.
    around : str
        The last operation that drew random numbers around others that require a gradient, to which it gives none; empty
        if there was none.
    leaves : dict of tensor
        The leaves that require a gradient, by id.
    numbers : int
        How many numbers all operations have given.
    """

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0
        self.draws: list[torch.Tensor] = []
        self.unfrozen = self.around = ""
        self.computed_in: Precision = DOUBLE
        self.leaves: dict[int, torch.Tensor] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = tensors_in((args, kwargs))
        self.leaves |= {id(tensor): tensor for tensor in given if tensor.requires_grad and tensor.is_leaf}
        drawn = _drawn_by(func)
        before = None if drawn or not _is_random(func) else random_states(given)
        found = func(*args, **kwargs)
        results = tensors_in(found)
        self.numbers += sum(tensor.numel() for tensor in results)
        if _has_coarse_slope(name_of(func), args):
            self.computed_in = coarsest((self.computed_in, precision_of(torch.float32)))
        if drawn:
            self.draws.append(drawn(found).detach().clone())
            if name_of(func) == "normal" and torch.is_grad_enabled() and any(x.requires_grad for x in given):
                self.around = "torch.normal"
        elif before is not None and any(map(_differ, before, random_states(given))):
            self.unfrozen = str(func)
        if any(tensor.is_floating_point() for tensor in given):
            coarse = [r for r in results if r.is_floating_point() and r.element_size() <= _COARSE_BYTES]
            if coarse:
                self.computed_in = coarsest((self.computed_in, *(precision_of(result.dtype) for result in coarse)))
        return found


class Frozen(Mode):
    """Replaces new random numbers by those of another run, in the dtypes that are asked for.

    Raises
    ------
    ValueError
        If this run asks for more random numbers, or for other shapes, than were drawn in that run.
    """

    def __init__(self, draws: Sequence[torch.Tensor]) -> None:
        super().__init__()
        self._draws, self._left = iter(draws), len(draws)

    @property
    def is_used_up(self) -> bool:
        """Whether all random numbers have been given."""
        return not self._left

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        drawn = _drawn_by(func)
        if drawn is None:
            return found
        here, before = drawn(found), next(self._draws, None)
        self._left -= 1
        if before is None or here.shape != before.shape:
            raise ValueError(
                f"the random numbers of {func} cannot be frozen: at other parameters, or in float64, others are asked "
                "for than in the run that gave the gradient. Without what is random in it, the loss can be checked"
            )
        here.copy_(before)
        if name_of(func) == "native_dropout":
            x, p, train = args
            return x * here * (1.0 / (1.0 - p) if train and p < 1.0 else 1.0), here
        return found


class Widened(Mode):
    """Lets everything be computed in float64, even where the code asks for coarser dtypes or has tensors of them."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not name_of(func) or func._schema.is_mutable or any(out.alias_info for out in func._schema.returns):
            return func(*args, **kwargs)
        return _widened(func(*_widened(args), **_widened(kwargs)))


def _widened(tree: Any) -> Any:
    """Replaces floating-point tensors and dtypes by those of float64."""
    if isinstance(tree, torch.Tensor):
        wide = torch.complex128 if tree.is_complex() else torch.float64
        return tree.to(wide) if tree.is_floating_point() or tree.is_complex() else tree
    if isinstance(tree, torch.dtype):
        return torch.float64 if tree.is_floating_point else torch.complex128 if tree.is_complex else tree
    if isinstance(tree, dict):
        return {key: _widened(child) for key, child in tree.items()}
    return type(tree)(map(_widened, tree)) if isinstance(tree, (tuple, list)) else tree


@lru_cache(maxsize=1024)
def _drawn_by(func: Any) -> Callable[[Any], torch.Tensor] | None:
    """Gives the function that takes the random numbers out of an operation's result; None if there are none in it."""
    name = name_of(func)
    if name == "native_dropout":
        return lambda found: found[1]
    return (lambda found: found) if name.rstrip("_") in _DRAWS else None


def _has_coarse_slope(name: str, args: Any) -> bool:
    """Tells whether a backward has numbers that PyTorch rounds to float32: 1/6 of hardsigmoid, and 1/alpha of celu."""
    if name == "elu_backward":
        _, alpha, _, input_scale, *_ = args
        return bool(input_scale != 1 and abs(input_scale * alpha - 1.0) > DOUBLE.eps)
    return name == "hardsigmoid_backward"


@lru_cache(maxsize=1024)
def _is_random(func: Any) -> bool:
    name = name_of(func)
    return bool(name) and (torch.Tag.nondeterministic_seeded in func.tags or name == "_sample_dirichlet")


def random_states(tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    """The states of the random number generators of the CPU, and of the GPUs on which the tensors are."""
    devices = {tensor.device for tensor in tensors if tensor.device.type == "cuda"}
    return [torch.get_rng_state(), *map(torch.cuda.get_rng_state, sorted(devices, key=str))]


def _differ(a: torch.Tensor, b: torch.Tensor) -> bool:
    return not torch.equal(a, b)


def notes_on(draws: Sequence[torch.Tensor], around: str, computed_in: Precision) -> tuple[str, ...]:
    """Makes the notes on random numbers that were frozen, drawn around others, and on coarse numbers."""
    frozen = f"random numbers were frozen: those of the run that gave the gradient ({len(draws)} draws) are used in all"
    held = (
        f"{around} has no derivative by its mean and standard deviation, in PyTorch as here: what these depend on is "
        "not trained through it. mean + std * torch.randn_like(mean) draws such numbers, too, and has one"
    )
    coarse = f"the gradient was computed in {computed_in.name} in part, and is taken to be as accurate as that"
    return (*[frozen] * bool(draws), *[held] * bool(around), *[coarse] * computed_in.is_coarse)


def notes_on_differences(written: Sequence[str], cuts_off: bool) -> tuple[str, ...]:
    """Makes the notes that differences have what the gradient lacks: buffers that are written, values cut off."""
    said = (
        f"forward writes into {', '.join(written)}; where the loss depends on what it writes, as in training with "
        "spectral_norm, that counts in the differences but not in the gradient. module.eval() may keep them"
    )
    cut_off = (
        "values are detached, or computed with gradients switched off: where the loss depends on them, that counts in "
        "plain differences but not in the gradient. A trace, as of method='auto', holds them fixed"
    )
    return (*[said] * bool(written), *[cut_off] * cuts_off)


def gradients(
    run: Callable[[], Run], mode: Callable[[], AbstractContextManager[Any]] = nullcontext
) -> tuple[list[torch.Tensor | None], Any]:
    """Finds the gradients with respect to the leaves of a run; None for leaves that have no influence.

    PyTorch may refuse to give the gradients of some leaves only, as it does for checkpoints with use_reentrant=True.
    Then ``backward()`` accumulates those of all leaves in their ``.grad``, which is put back afterwards.

    Parameters
    ----------
    run : callable
        It is called again if PyTorch refuses, with the random numbers as they were.
    mode : callable
        Makes the context in which everything is done. It is returned after the gradients.
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
    """Lets autograd record, even if the caller has switched that off."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


@contextmanager
def one_thread_for(numbers: int) -> Iterator[None]:
    """Lets PyTorch use one thread for runs that compute so many numbers, if these are few.

    Its threads wait for work in a loop, and keep those of NumPy, which compute meanwhile, from the CPUs.
    """
    before = torch.get_num_threads()
    if numbers <= _FEW_NUMBERS:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def rng_kept() -> Iterator[None]:
    """Puts the random number generators back in the end: PyTorch's on all devices, NumPy's global one and Python's."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    others = GlobalGenerators()
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        others.restore()
