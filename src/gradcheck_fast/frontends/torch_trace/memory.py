"""Knows, for each block of PyTorch's memory that has values which depend on parameters, what these are.

A tensor is a view of its block by an offset and strides. So all views of a tensor are known as soon as the tensor is,
and what is written into a view is seen in all others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from gradcheck_fast.frontends.numpy_trace.array import TracedArray

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.frontends.numpy_trace.recording import Recording
    from gradcheck_fast.frontends.numpy_trace.storage import Storage


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

    def array(self, tensor: torch.Tensor) -> TracedArray:
        """Returns the values of a tensor that is known.

        Raises
        ------
        Untraceable
            If its values are not known, or if it takes the bytes of its memory for numbers of another kind.
        """
        memory = tensor.untyped_storage()
        block = self._blocks.get(memory._cdata)
        if block is None:
            _, made = self._unknown[memory._cdata]
            raise self._recording.untraceable(f"what {made} keeps for its backward is read")
        if block.dtype is not tensor.dtype or block.n_bytes != memory.nbytes():
            raise self._recording.untraceable(
                f"memory of {block.dtype} that depends on the parameters is resized, or read as {tensor.dtype}"
            )
        whole = block.storage.array
        size = whole.itemsize
        view: NDArray[Any] = np.ndarray(
            tuple(tensor.shape), whole.dtype, whole, size * tensor.storage_offset(),
            [size * stride for stride in tensor.stride()],
        ) if tensor.numel() else np.zeros(tuple(tensor.shape), whole.dtype)  # fmt: skip
        if view.shape == whole.shape and view.flags.c_contiguous:
            view = whole
        return TracedArray(self._recording, view, None, block.storage)

    def plain(self, tensor: torch.Tensor) -> NDArray[Any]:
        """Returns the numbers of a tensor that depends on no parameter, as a view of its memory if that can be."""
        if tensor.layout is not torch.strided:
            return np.asarray(tensor.detach().to_dense().numpy())
        key = (tensor.untyped_storage()._cdata, tensor.dtype, tensor.storage_offset(), tensor.shape, tensor.stride())
        found = self._plain.get(key)
        if found is None:
            detached = tensor.detach().resolve_conj().resolve_neg()
            if detached.dtype is torch.bfloat16:
                detached = detached.float()
            found = self._plain[key] = tensor, detached.cpu().numpy()
            if tensor.dtype is torch.bfloat16 or tensor.is_conj() or tensor.is_neg():
                return self._plain.pop(key)[1]  # which is a copy
        return found[1]

    def put(self, tensor: torch.Tensor, array: TracedArray) -> None:
        """Takes an array as the values of a new tensor."""
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
        if tensor.layout is not torch.strided or tensor.is_complex():
            raise self._recording.untraceable(
                f"a value that depends on the parameters is written into a tensor of {tensor.layout}, {tensor.dtype}"
            )
        memory = tensor.untyped_storage()
        numbers = tensor.detach().as_strided((memory.nbytes() // tensor.itemsize,), (1,), 0)
        kind = np.bool_ if tensor.dtype is torch.bool else np.float64
        values: NDArray[Any] = np.array((numbers.float() if tensor.dtype is torch.bfloat16 else numbers).numpy(), kind)
        self._put_block(memory, tensor.dtype, TracedArray(self._recording, values, None))

    def write(self, tensor: torch.Tensor, value: Any) -> None:
        """Writes values into a tensor that is known."""
        self.array(tensor)._assign(..., value)

    def _put_block(self, memory: torch.UntypedStorage, dtype: torch.dtype, array: TracedArray) -> None:
        self._blocks[memory._cdata] = Block(memory, memory.nbytes(), dtype, array._memory())
