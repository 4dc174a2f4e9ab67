"""Which build of the kernels runs."""

from __future__ import annotations

import os

from gradcheck_fast.kernels import _kernels


def instruction_set() -> str:
    """The best instruction set of this CPU, or the one that ``GRADCHECK_FAST_ISA`` names.

    Raises
    ------
    ValueError
        If the variable names one that this build or this CPU does not have.
    """
    available = _kernels.instruction_sets()
    chosen = os.environ.get("GRADCHECK_FAST_ISA") or available[0]
    if chosen not in available:
        raise ValueError(f"GRADCHECK_FAST_ISA: {chosen!r} is not available here; {', '.join(available)} are")
    return chosen
