"""What the traced code does with tensors that autograd does not follow: numbers taken out of PyTorch, and `detach`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import CodeType
from typing import TYPE_CHECKING, Any

import torch
from torch.autograd.function import BackwardCFunction, Function
from torch.nn.functional import gumbel_softmax
from torch.overrides import TorchFunctionMode

from gradcheck_fast.frontends.torch_trace.mode import tensors_in

if TYPE_CHECKING:
    from gradcheck_fast.frontends.torch_trace.held import Held
    from gradcheck_fast.frontends.torch_trace.tracing import Tracing

#: What a method of a tensor is called that takes its numbers out of PyTorch.
_LEAKS = {
    torch.Tensor.numpy: ".numpy()", torch.Tensor.tolist: ".tolist()", torch.Tensor.__array__: "np.asarray()",
    torch.Tensor.data_ptr: ".data_ptr()", torch.Tensor.__dlpack__: "dlpack",
}  # fmt: skip
#: The code that runs the forward and the backward of a `torch.autograd.Function`, inside which gradients are off.
_OF_FUNCTIONS = frozenset(
    kind.apply.__code__ for kind in (Function, BackwardCFunction) if hasattr(kind.apply, "__code__")
)
#: Since PyTorch 2.14 that of the forward is in C, and no frame of it is seen.
_FORWARD_IS_IN_C = not hasattr(Function.apply, "__code__")
#: The place of `create_graph` among the arguments of `torch.autograd.grad`.
_CREATE_GRAPH = 4
#: A module of PyTorch's that detaches what it gives back to autograd later.
_OWN_DETACHING = "torch.utils.checkpoint"
#: The place of `hard` among the arguments of `gumbel_softmax`.
_HARD = 2
_DATA = torch.Tensor.data.__get__
#: What gives a tensor with the values of another one, and no gradient.
_DETACHING = (torch.Tensor.detach, _DATA, torch.Tensor.detach_)


class Detached(TorchFunctionMode):  # type: ignore[misc]
    """Notes where numbers are taken out of PyTorch, and takes what the user's code detaches as constants.

    That is what `Tensor.detach` and ``.data`` give, what is computed under `torch.no_grad`, and gradients that are
    asked for without ``create_graph``. It is not what a `torch.autograd.Function` does, which has its own backward.

    Parameters
    ----------
    tracing : Tracing
    held : Held, optional
        Takes what was held. None: nothing is held fixed.
    """

    def __init__(self, tracing: Tracing, held: Held | None) -> None:
        super().__init__()
        self._tracing, self._held = tracing, held
        self._is_off = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, memory = kwargs or {}, self._tracing.memory
        what = _LEAKS.get(func)
        if what is not None and memory.knows(args[0]):
            self._tracing.recording.leak(f"{what} of a value that depends on the parameters", "operations of PyTorch")
        if self._held is None:
            return func(*args, **kwargs)
        if func is torch._C._set_grad_enabled:
            if not torch.is_grad_enabled():
                self._is_off &= not args[0]
            elif not args[0]:
                self._is_off = not _is_in_function()
            return func(*args, **kwargs)
        if func is gumbel_softmax and (kwargs.get("hard") or args[_HARD : _HARD + 1] == (True,)):
            return self._one_hot(*args, **kwargs)
        if not self._cuts(func, args, kwargs) or sys._getframe(1).f_globals.get("__name__") == _OWN_DETACHING:
            return func(*args, **kwargs)
        before = {id(tensor): memory.knows(tensor) for tensor in tensors_in((args, kwargs))}
        blocks = {tensor.untyped_storage()._cdata for tensor in tensors_in((args, kwargs)) if before[id(tensor)]}
        return self._fixed(func, func(*args, **kwargs), before, blocks)

    def _one_hot(
        self, logits: torch.Tensor, tau: float = 1, hard: bool = True, eps: float = 1e-10, dim: int = -1
    ) -> Any:
        """Does what `gumbel_softmax` does with ``hard=True``, whose detach is not seen from outside."""
        soft = gumbel_softmax(logits, tau, False, eps, dim)
        one_hot = torch.zeros_like(soft).scatter_(dim, soft.max(dim, keepdim=True)[1], 1.0)
        with self:
            return one_hot - soft.detach() + soft

    def _cuts(self, func: Any, args: Any, kwargs: Any) -> bool:
        """Whether autograd takes what a function gives as constants."""
        if func is torch.autograd.grad:
            return not kwargs.get("create_graph", len(args) > _CREATE_GRAPH and args[_CREATE_GRAPH])
        is_off = not torch.is_grad_enabled() and (self._is_off or torch.is_inference_mode_enabled())
        return is_off or (func in _DETACHING and not _is_in_function())

    def _fixed(self, func: Any, found: Any, before: dict[int, bool], blocks: set[int]) -> Any:
        """Returns what a function gave, as constants."""
        memory = self._tracing.memory
        known = [tensor for tensor in tensors_in(found) if memory.knows(tensor)]
        if not known:
            return found
        own: Callable[[torch.Tensor], torch.Tensor] | None = None
        for tensor in known:
            if tensor.untyped_storage()._cdata not in blocks or (func is torch.Tensor.detach_ and tensor._base is None):
                memory.forget(tensor)
            elif id(tensor) not in before:
                own = self._tracing.constant  # it shares its memory with what is no constant
        self._note()
        if own is None:
            return found
        if isinstance(found, torch.Tensor):
            return own(found)
        return type(found)([own(part) if isinstance(part, torch.Tensor) else part for part in found])

    def _note(self) -> None:
        assert self._held is not None
        self._held.lines.append(self._tracing.source())


def _is_in_function() -> bool:
    """Whether the forward or the backward of a `torch.autograd.Function` is running, but for that of a checkpoint.

    The backward of a checkpoint runs its forward once more, with gradients, so that what that detaches counts.
    """
    forwards = dict(_forwards(Function)) if _FORWARD_IS_IN_C else {}
    frame = sys._getframe(1)
    while frame is not None:
        of_function = forwards.get(frame.f_code, frame.f_locals.get("cls"))
        is_one = frame.f_code in _OF_FUNCTIONS or frame.f_code in forwards
        if is_one and getattr(of_function, "__module__", "") != _OWN_DETACHING:
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


def _forwards(kind: type[Function]) -> Iterator[tuple[CodeType, type[Function]]]:
    """The code of the forward of each `torch.autograd.Function`, with its class."""
    for derived in kind.__subclasses__():
        code = getattr(derived.forward, "__code__", None)
        if code is not None:
            yield code, derived
        yield from _forwards(derived)


class Detachments(TorchFunctionMode):  # type: ignore[misc]
    """Observes, where autograd records, whether the user's code cuts off what it records.

    Attributes
    ----------
    switches_off : bool
        Whether gradients are switched off for a time.
    detaches : bool
        Whether a tensor is detached that has a gradient.
    """

    switches_off = detaches = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch._C._set_grad_enabled and not args[0]:
            self.switches_off |= torch.is_grad_enabled() and not _is_in_function()
        elif func in _DETACHING and torch.is_grad_enabled():
            self.detaches |= args[0].requires_grad and not _is_in_function()
        return func(*args, **(kwargs or {}))
