"""Records a graph of another library by doing its operations in NumPy, on the arrays that record what is done to them.

So every front end is a table that says, in NumPy, what each operator does: everything else is that of the NumPy trace.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.frontends.numpy_trace.functions import KNOWN
from gradcheck_fast.frontends.numpy_trace.recording import Recording
from gradcheck_fast.frontends.numpy_trace.trace import ONE_AT_A_TIME, Result
from gradcheck_fast.inputs.users_files import is_users_file

if TYPE_CHECKING:
    from gradcheck_fast.frontends.numpy_trace.array import TracedArray
    from gradcheck_fast.inputs.trees import Packed

#: What replays a graph: a function of the recording and of the arrays of the parameters, by name.
Replay = Callable[[Recording, dict[str, "TracedArray"]], Any]


def replayed(replay: Replay, params: Packed, read: Callable[[Recording, Any], Result]) -> tuple[Recording, Result]:
    """Calls `replay` once with arrays that record; `read` takes what it returns, while the recording is open.

    Parameters
    ----------
    replay : callable
        ``replay(recording, arrays)``, where `arrays` are those of the parameters, by name.
    params : Packed
    read : callable
        Such as `trace.as_cost`.

    Raises
    ------
    Untraceable
        If something cannot be written down.
    Exception
        What `replay` raises.
    """
    with ONE_AT_A_TIME:
        recording = Recording(is_users_file, KNOWN)
        try:
            arrays = {name: recording.parameter(array) for name, array in params.arrays(params.flat)}
            with np.errstate(all="ignore"):
                result = read(recording, replay(recording, arrays))
        finally:
            recording.is_open = False
        if recording.failure is not None:
            raise recording.failure
    return recording, result
