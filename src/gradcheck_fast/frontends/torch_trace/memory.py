"""Knows, for each block of PyTorch's memory that has values which depend on parameters, what these are.

A tensor is a view of its block by an offset and strides. So all views of a tensor are known as soon as the tensor is,
and what is written into a view is seen in all others. A block of complex numbers has their real and imaginary parts in
turn, so that `x.real` and `torch.view_as_real(x)` are views of it, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from gradcheck_fast.frontends.numpy_trace.array import TracedArray
from gradcheck_fast.frontends.operators.complex_numbers import ComplexArray, conjugate, negative

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from gradcheck_fast.frontends.numpy_trace.recording import Recording
    from gradcheck_fast.frontends.numpy_trace.storage import Storage

#: What NumPy has in place of dtypes that it has not.
WIDER = {
    torch.bfloat16: torch.float32, torch.float8_e4m3fn: torch.float32, torch.float8_e5m2: torch.float32,
    torch.complex32: torch.complex64,
}  # fmt: skip


class Block(NamedTuple):
    """A block of memory.

    Attributes
    ----------
    memory : torch.UntypedStorage
        PyTorch's: it is kept, so that no other block gets its address.
    n_bytes : int
        Its size when it became known.
    dtype : torch.dtype
        What the numbers in it are; those of a complex dtype are pairs of this one.
    storage : Storage
        The values as a traced array, in the order of the memory.
    """

    memory: torch.UntypedStorage
    n_bytes: int
    dtype: torch.dtype
    storage: Storage


class Memory:
    """The blocks of memory that have values which depend on parameters.

    Parameters
    ----------
    recording : Recording
    """

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._blocks: dict[int, Block] = {}
        self._unknown: dict[int, tuple[torch.UntypedStorage, str]] = {}
        self._plain: dict[tuple[Any, ...], tuple[torch.Tensor, NDArray[Any]]] = {}

    def knows(self, tensor: torch.Tensor) -> bool:
        """Whether the memory of a tensor has values that depend on parameters."""
        if tensor.layout is not torch.strided:
            return False
        key = tensor.untyped_storage()._cdata
        return key in self._blocks or key in self._unknown

    def array(self, tensor: torch.Tensor) -> TracedArray | ComplexArray:
        """Returns the values of a tensor that is known.

        Raises
        ------
        Untraceable
            If its values are not known, or if it takes the bytes of its memory for numbers of another kind.
        """
        found: TracedArray | ComplexArray = _with_flags(tensor, self._stored(tensor))
        return found

    def _stored(self, tensor: torch.Tensor) -> TracedArray | ComplexArray:
        """Returns what a tensor that is known has in its memory, which may be minus its values or their conjugates."""
        memory = tensor.untyped_storage()
        block = self._blocks.get(memory._cdata)
        if block is None:
            _, made = self._unknown[memory._cdata]
            raise self._recording.untraceable(f"what {made} keeps for its backward is read")
        if block.dtype is not _dtype_of_parts(tensor.dtype) or block.n_bytes != memory.nbytes():
            raise self._recording.untraceable(
                f"memory of {block.dtype} that depends on the parameters is resized, or read as {tensor.dtype}"
            )
        offset, strides = tensor.storage_offset(), list(tensor.stride())
        if not tensor.is_complex():
            return self._view(block, tensor, offset, strides)
        strides = [2 * stride for stride in strides]
        return ComplexArray(*(self._view(block, tensor, 2 * offset + part, strides) for part in range(2)))

    def _view(self, block: Block, tensor: torch.Tensor, offset: int, strides: Sequence[int]) -> TracedArray:
        """Returns a view of a block, of the shape of a tensor."""
        whole = block.storage.array
        size = whole.itemsize
        view: NDArray[Any] = np.ndarray(
            tuple(tensor.shape), whole.dtype, whole, size * offset, [size * stride for stride in strides],
        ) if tensor.numel() else np.zeros(tuple(tensor.shape), whole.dtype)  # fmt: skip
        if view.shape == whole.shape and view.flags.c_contiguous:
            view = whole
        return TracedArray(self._recording, view, None, block.storage)

    def plain(self, tensor: torch.Tensor) -> NDArray[Any]:
        """Returns the numbers of a tensor that depends on no parameter, as a view of its memory if that can be."""
        if tensor.layout is not torch.strided:
            return np.asarray(tensor.detach().to_dense().cpu().numpy())
        key = (tensor.untyped_storage()._cdata, tensor.dtype, tensor.storage_offset(), tensor.shape, tensor.stride())
        found = self._plain.get(key)
        if found is None:
            detached = tensor.detach().resolve_conj().resolve_neg()
            if detached.dtype in WIDER:
                detached = detached.to(WIDER[detached.dtype])
            found = self._plain[key] = tensor, detached.cpu().numpy()
            if tensor.dtype in WIDER or tensor.is_conj() or tensor.is_neg() or tensor.device.type != "cpu":
                return self._plain.pop(key)[1]  # which is a copy
        return found[1]

    def put(self, tensor: torch.Tensor, array: TracedArray | ComplexArray) -> None:
        """Takes an array as the values of a new tensor."""
        if type(array) is not TracedArray:
            self.prepare(tensor)
            self.write(tensor, array)
            return
        shape, strides = tuple(tensor.shape), tensor.stride()
        memory = tensor.untyped_storage()
        n_bytes = memory.nbytes()
        size = n_bytes // tensor.itemsize
        if tensor.numel() == size and tensor.is_contiguous():
            own = array if array._storage is None else array.copy()
        else:
            order = sorted(range(len(shape)), key=lambda axis: (-strides[axis], axis))
            moved = array.transpose(order).copy()
            expected, step = [0] * len(shape), 1
            for axis in reversed(order):
                expected[axis], step = step, step * shape[axis]
            lies_dense = all(n == 1 or a == b for n, a, b in zip(shape, strides, expected, strict=True))
            if tensor.numel() == size and lies_dense:
                own = moved
            else:
                self._put_block(memory, tensor.dtype, TracedArray(self._recording, np.zeros(size, array.dtype), None))
                self.write(tensor, array)
                return
        self._put_block(memory, tensor.dtype, own)

    def put_unknown(self, tensor: torch.Tensor, made: str) -> None:
        """Notes that the values of a new tensor depend on parameters, but are not known; `made` names the operation."""
        memory = tensor.untyped_storage()
        self._unknown[memory._cdata] = memory, made

    def forget(self, tensor: torch.Tensor) -> None:
        """Takes the values in a tensor's memory as constants from now on."""
        key = tensor.untyped_storage()._cdata
        self._blocks.pop(key, None)
        self._unknown.pop(key, None)

    def prepare(self, tensor: torch.Tensor) -> None:
        """Takes the present values of a tensor's memory as constants, so that other values can be written into it."""
        if self.knows(tensor):
            return
        if tensor.layout is not torch.strided:
            raise self._recording.untraceable(
                f"a value that depends on the parameters is written into a tensor of {tensor.layout}, {tensor.dtype}"
            )
        memory, dtype = tensor.untyped_storage(), _dtype_of_parts(tensor.dtype)
        numbers = torch.empty(0, dtype=dtype, device=tensor.device)
        numbers.set_(memory, 0, (memory.nbytes() // dtype.itemsize,), (1,))
        kind = np.bool_ if dtype is torch.bool else np.float64
        values: NDArray[Any] = np.array(numbers.to(WIDER.get(dtype, dtype)).cpu().numpy(), kind)
        self._put_block(memory, tensor.dtype, TracedArray(self._recording, values, None))

    def write(self, tensor: torch.Tensor, value: Any) -> None:
        """Writes values into a tensor that is known."""
        stored, value = self._stored(tensor), _with_flags(tensor, value)
        if type(stored) is TracedArray:
            stored._assign(..., value)
            return
        for part, new in zip(stored, ComplexArray.of(value), strict=True):
            part._assign(..., new)

    def _put_block(self, memory: torch.UntypedStorage, dtype: torch.dtype, array: TracedArray) -> None:
        self._blocks[memory._cdata] = Block(memory, memory.nbytes(), _dtype_of_parts(dtype), array._memory())


def _dtype_of_parts(dtype: torch.dtype) -> torch.dtype:
    """Returns the dtype of the real and imaginary parts, which for real numbers is their own."""
    return dtype.to_real() if dtype.is_complex else dtype


def _with_flags(tensor: torch.Tensor, value: Any) -> Any:
    """Returns the conjugate of a value, or minus it, if a tensor is a view of its memory that says so."""
    if tensor.is_conj():
        value = conjugate(value)
    return value if not tensor.is_neg() else negative(value) if tensor.is_complex() else -value
