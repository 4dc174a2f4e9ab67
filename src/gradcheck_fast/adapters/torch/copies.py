"""Private copies of PyTorch modules, functions and data, which are run in the place of the user's."""

from __future__ import annotations

import os
from collections import Counter, OrderedDict, deque
from collections.abc import Iterator, Mapping
from copy import copy, deepcopy
from functools import partial
from types import FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from gradcheck_fast.inputs.arrays import Precision
from gradcheck_fast.inputs.complex_pairs import IMAG, REAL, combined, pairs_by_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: The process that imported this module. A process with another number was forked from it.
_PROCESS = os.getpid()
#: The floating-point dtypes of 8 bits.
FLOAT8 = (torch.float8_e4m3fn, torch.float8_e5m2)
_FLOATS = (*FLOAT8, torch.float16, torch.bfloat16, torch.float32, torch.float64)
#: What has no parts, and is never changed.
_UNCHANGING = frozenset((type(None), bool, int, float, complex, str, bytes))
_COMPRESSED_ROWS = (torch.sparse_csr, torch.sparse_bsr)
_COMPRESSED = (*_COMPRESSED_ROWS, torch.sparse_csc, torch.sparse_bsc)


class Copies:
    """Deep copies of some objects, which can be put back into the state in which they were made.

    What the objects share (a parameter under two names, a module in several places) their copies share as well. Each
    parameter has memory of its own, since the gradient of each is found by itself.

    Parameters
    ----------
    dtype : torch.dtype, optional
        Floating-point tensors are cast to it; by default they keep their own. A floating-point dtype that is an
        attribute of an object is replaced as well.
    **originals
        The objects, by the names that errors give them.

    Raises
    ------
    TypeError
        If an object cannot be copied.
    """

    def __init__(self, dtype: torch.dtype | None = None, **originals: Any) -> None:
        parts = list(_parts(list(originals.values())))
        #: The floating-point and complex dtypes of the originals, and those that are attributes of them.
        self.dtypes = frozenset(_float_dtypes(parts))
        memo: dict[int, Any] = {} if dtype is None else {id(other): dtype for other in _FLOATS}
        memo |= _copied_tensors(parts, dtype)
        self._copied: dict[str, Any] = {}
        for what, original in originals.items():
            try:
                self._copied[what] = deepcopy(original, memo)
            except Exception as error:
                raise TypeError(
                    f"{what}: {_uncopyable(what, original, memo)} cannot be copied ({error}), and a copy is what is "
                    "run, so that yours is not changed. Leave that out, or give its class a __deepcopy__"
                ) from error
        self._take_snapshot({id(part) for part in parts})

    def __getitem__(self, what: str) -> Any:
        return self._copied[what]

    def restore(self) -> None:
        """Undoes all that was written into the copies since they were made: their tensors, arrays and attributes."""
        for container, saved in self._containers:
            if not container and not saved:
                continue
            container.clear()
            (container.update if isinstance(container, (dict, set)) else container.extend)(saved)
        with torch.no_grad():
            for tensor, values, is_leaf in self._tensors:
                if is_leaf and tensor.grad_fn is not None:
                    tensor.detach_()
                if is_leaf:
                    tensor.grad = None
                if tensor.shape == values.shape:
                    tensor.copy_(values)
                else:
                    tensor.data = values.clone()
        for array, numbers in self._arrays:
            array[...] = numbers
        for generator, state in self._generators:
            generator.set_state(state)

    def __getstate__(self) -> dict[str, Any]:
        self.restore()
        return self._copied

    def __setstate__(self, copied: dict[str, Any]) -> None:
        survive_a_fork()
        self._copied = copied
        self._take_snapshot(set())

    def _take_snapshot(self, shared: set[int]) -> None:
        """Keeps the state of the copies, but not of parts that they share with the originals, such as Enum members."""
        found = [part for part in _parts(list(self._copied.values())) if id(part) not in shared]
        strided = [part for part in found if isinstance(part, torch.Tensor) and part.layout is torch.strided]
        containers = [part for part in found if isinstance(part, (dict, list, set, deque))]
        self._containers = [(part, dict(part) if isinstance(part, dict) else list(part)) for part in containers]
        self._tensors = [(tensor, tensor.detach().clone(), tensor.is_leaf) for tensor in strided]
        self._arrays = [(part, part.copy()) for part in found if isinstance(part, np.ndarray) and part.flags.writeable]
        self._generators = [(part, part.get_state()) for part in found if isinstance(part, torch.Generator)]


def _float_dtypes(parts: list[Any]) -> Iterator[torch.dtype]:
    """Gives the floating-point and complex dtypes among objects, and of tensors among them."""
    for part in parts:
        if isinstance(part, (torch.Tensor, torch.dtype)):
            dtype = part if isinstance(part, torch.dtype) else part.dtype
            if dtype.is_floating_point or dtype.is_complex:
                yield dtype


def fresh(tree: Any, known: dict[int, torch.Tensor] | None = None) -> Any:
    """Copies the tensors in a tuple, list or dict. A leaf becomes a leaf; objects of other classes are not copied.

    A tensor in several places has one copy; `known` has the copies by the ids of the tensors.
    """
    known = {} if known is None else known
    if isinstance(tree, torch.Tensor):
        if id(tree) not in known:
            leaf = tree.detach().clone().requires_grad_(tree.requires_grad)
            known[id(tree)] = leaf if tree.is_leaf else leaf.clone()
        return known[id(tree)]
    if isinstance(tree, dict):
        new = copy(tree)
        for key, child in tree.items():
            new[key] = fresh(child, known)
        return new
    if isinstance(tree, (tuple, list)):
        children = [fresh(child, known) for child in tree]
        return type(tree)(*children) if hasattr(tree, "_fields") else type(tree)(children)
    return tree


def _copied_tensors(parts: list[Any], dtype: torch.dtype | None) -> dict[int, Any]:
    """Copies tensors, and gives the copies by the ids of the tensors.

    `deepcopy` would refuse tensors that are computed from others, and it cannot cast.
    """
    tensors = [part for part in parts if type(part) in (torch.Tensor, nn.Parameter)]
    places = [_place(tensor) for tensor in tensors]
    how_many = Counter(places)
    memory: dict[Any, torch.Tensor] = {}
    copies: dict[int, Any] = {}
    for tensor, place in zip(tensors, places, strict=True):
        if place is not None and how_many[place] > 1:
            if place not in memory:
                memory[place] = _copied_memory(tensor, dtype)
            new = _in_copied_memory(tensor, memory[place])
        else:
            new = cast(tensor.detach().clone(), dtype)
        if isinstance(tensor, nn.Parameter):
            new = nn.Parameter(new, tensor.requires_grad)
        elif tensor.requires_grad:
            new.requires_grad_()
        for hook in (tensor._backward_hooks or {}).values() if tensor.requires_grad and tensor.is_leaf else ():
            new.register_hook(hook)
        copies[id(tensor)] = new if tensor.is_leaf else new.clone()
    return copies


def _place(tensor: torch.Tensor) -> tuple[int, torch.dtype] | None:
    """Names the memory in which a tensor lies, which it may share with others.

    None for parameters, which get memory of their own, and for tensors that are sparse or have no numbers.
    """
    if isinstance(tensor, nn.Parameter) or tensor.layout is not torch.strided or not tensor.numel():
        return None
    return tensor.untyped_storage().data_ptr(), tensor.dtype


def _copied_memory(tensor: torch.Tensor, dtype: torch.dtype | None) -> torch.Tensor:
    """Copies all numbers of the memory in which a tensor lies."""
    size = tensor.untyped_storage().nbytes() // tensor.element_size()
    return cast(tensor.detach().as_strided((size,), (1,), 0).clone(), dtype)


def _in_copied_memory(tensor: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
    """Makes the copy of a tensor that lies in the copy of its memory."""
    new = torch.empty(0, dtype=memory.dtype, device=memory.device)
    return new.set_(memory.untyped_storage(), tensor.storage_offset(), tensor.shape, tensor.stride())


def cast(tensor: torch.Tensor, dtype: torch.dtype | None) -> torch.Tensor:
    """Casts a tensor to a floating-point dtype, or to the complex dtype that belongs to it. Integers stay."""
    if dtype is None or not (tensor.is_floating_point() or tensor.is_complex()):
        return tensor
    return tensor.to(dtype.to_complex() if tensor.is_complex() else dtype)


def _parts(roots: list[Any]) -> Iterator[Any]:
    """Gives all objects that a deep copy of these would copy, each once, but for numbers and texts."""
    seen: dict[int, Any] = {}
    stack = list(roots)
    while stack:
        part = stack.pop()
        if type(part) not in _UNCHANGING and id(part) not in seen:
            seen[id(part)] = part
            yield part
            stack.extend(_children(part))


def _children(part: Any) -> Iterator[Any]:
    if isinstance(part, (torch.Tensor, type, FunctionType, ModuleType, np.ndarray)):
        return
    if isinstance(part, dict):
        yield from part.values()
    elif isinstance(part, (list, tuple, set, frozenset, deque)):
        yield from part
    elif isinstance(part, MethodType):
        yield part.__self__
    elif isinstance(part, partial):
        yield from (part.func, part.args, part.keywords)
    if type(part) is not OrderedDict and hasattr(part, "__dict__"):
        yield part.__dict__


def _uncopyable(what: str, original: Any, memo: dict[int, Any]) -> str:
    """Names what cannot be copied: an attribute of a module if there is one, else the whole object."""
    modules = original.named_modules() if isinstance(original, nn.Module) else ()
    for path, module in modules:
        for name, value in vars(module).items():
            try:
                deepcopy(value, memo)
            except Exception:
                if name not in ("_modules", "_parameters", "_buffers"):
                    return f"the attribute {'.'.join(filter(None, (path, name)))}"
    return what


def array_of(tensor: torch.Tensor) -> NDArray[Any]:
    """Makes an array of a tensor. bfloat16 and float8, which NumPy does not have, become float32."""
    tensor = tensor.detach().to_dense().cpu().resolve_conj().resolve_neg()
    array: NDArray[Any] = (tensor.float() if tensor.dtype in (torch.bfloat16, *FLOAT8) else tensor).numpy()
    return array


def arrays_of(tensors: Mapping[str, torch.Tensor]) -> dict[str, NDArray[Any]]:
    """Makes arrays of named tensors; two of a complex one, whose names end in ``.real`` and ``.imag``."""
    return pairs_by_name({name: array_of(tensor) for name, tensor in tensors.items()})


def value_of(name: str, parameter: torch.Tensor, params: Mapping[str, NDArray[Any]]) -> torch.Tensor:
    """Makes the value of a named parameter, of both parts if it is complex; see `arrays_of`."""
    if not parameter.is_complex():
        return torch.as_tensor(params[name])
    return torch.as_tensor(combined(params[f"{name}.{REAL}"], params[f"{name}.{IMAG}"]))


def values_of(tensor: torch.Tensor) -> torch.Tensor:
    """Gives the numbers that a tensor stores. A sparse tensor leaves out zeros."""
    if tensor.layout is torch.sparse_coo:
        return tensor.detach()._values()  # values() refuses what is not coalesced
    return tensor.detach().values() if tensor.layout in _COMPRESSED else tensor.detach()


def like_sparse(tensor: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Makes a tensor that stores `values` in the layout and places of `tensor`. It can be differentiated by them."""
    settings: dict[str, Any] = {"size": tensor.shape, "check_invariants": False}
    if tensor.layout is torch.sparse_coo:
        places = tensor.detach()._indices()
        return torch.sparse_coo_tensor(places, values, is_coalesced=tensor.is_coalesced(), **settings)
    if tensor.layout not in _COMPRESSED:
        return values
    by_row = tensor.layout in _COMPRESSED_ROWS
    places = (tensor.crow_indices(), tensor.col_indices()) if by_row else (tensor.ccol_indices(), tensor.row_indices())
    return torch.sparse_compressed_tensor(*places, values, layout=tensor.layout, **settings)


def precision_of(dtype: torch.dtype) -> Precision:
    """Gives the precision of a floating-point dtype."""
    info = torch.finfo(dtype)
    return Precision(str(dtype).removeprefix("torch."), info.eps, info.tiny, info.tiny * info.eps)


def survive_a_fork() -> None:
    """Tells PyTorch in a forked child to use one thread. It would wait for ever for the threads of its parent."""
    if os.getpid() != _PROCESS:
        torch.set_num_threads(1)
