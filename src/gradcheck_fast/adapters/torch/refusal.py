"""What is said of a module that runs in its own precision, but not in float64."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gradcheck_fast.adapters.common import Arrays
    from gradcheck_fast.adapters.torch.module import Runner


@contextmanager
def refusals_explained(runner: Runner, at: Arrays) -> Iterator[None]:
    """Explains an error that is raised because the copies in float64 do not run, though the module itself does.

    Parameters
    ----------
    runner : Runner
        Of copies in float64.
    at : dict of ndarray
        The parameters.

    Raises
    ------
    TypeError
        If the copies do not run. Any other error is passed on.
    """
    try:
        yield
    except Exception as error:
        refusal = _refusal(runner, at)
        if refusal is None:
            raise
        raise TypeError(
            f"module: it runs in its own dtype, but not in float64, which gf.torch.gradcheck needs: "
            f"{type(refusal).__name__} ({refusal}). Let it compute in the dtype of what it is given; or check the "
            "kernel that computes in one precision only with gf.torch.check_function(kernel, inputs)"
        ) from error


def _refusal(runner: Runner, at: Arrays) -> Exception | None:
    try:
        runner.loss(at)
    except Exception as error:
        return error
    return None
