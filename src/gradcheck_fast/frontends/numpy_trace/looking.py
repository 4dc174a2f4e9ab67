"""Functions that only look at traced arrays: what they return is plain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.frontends.numpy_trace.array import TracedArray
from gradcheck_fast.frontends.numpy_trace.registry import implements

if TYPE_CHECKING:
    from gradcheck_fast.frontends.numpy_trace.recording import Recording


def plain(value: Any) -> Any:
    """Returns a value, or a list, tuple or dict of values, with plain arrays in place of traced ones."""
    if type(value) is TracedArray:
        return value._view
    if isinstance(value, (list, tuple)):
        parts = [plain(part) for part in value]
        return parts if type(value) is list else tuple(parts)
    return {key: plain(part) for key, part in value.items()} if isinstance(value, dict) else value


def _looks(function: Any) -> Any:
    def look(recording: Recording, *args: Any, **kwargs: Any) -> Any:
        return function(*plain(args), **plain(kwargs))

    return look


def _tells(function: Any) -> Any:
    look = _looks(function)

    def tell(recording: Recording, *args: Any, **kwargs: Any) -> Any:
        recording.leak(f"numpy.{function.__name__} of a value that depends on the parameters")
        return look(recording, *args, **kwargs)

    return tell


#: What these return is made of the values.
for _telling in (np.array2string, np.array_repr, np.array_str, np.histogram_bin_edges):
    implements(_telling)(_tells(_telling))

for _function in (
    np.shape, np.ndim, np.size, np.isclose, np.allclose, np.array_equal, np.array_equiv, np.may_share_memory,
    np.shares_memory, np.result_type, np.can_cast, np.isrealobj,
    np.iscomplexobj, np.isreal, np.iscomplex, np.min_scalar_type, np.common_type, np.isposinf, np.isneginf,
    np.isin, np.ix_, np.tril_indices_from, np.triu_indices_from, np.diag_indices_from,
    getattr(np, "in1d", None),
):  # fmt: skip
    implements(_function)(_looks(_function))
