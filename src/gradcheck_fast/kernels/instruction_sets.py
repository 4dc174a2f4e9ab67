"""Chooses which build of the kernels runs."""

from __future__ import annotations

import os

from gradcheck_fast.kernels import _kernels


def instruction_set() -> str:
    """Returns the instruction set that ``GRADCHECK_FAST_ISA`` names, or else the best that this CPU has.

    Raises
    ------
    ValueError
        If the variable names an instruction set that this build or this CPU does not have.
    """
    available = _kernels.instruction_sets()
    chosen = os.environ.get("GRADCHECK_FAST_ISA") or available[0]
    if chosen not in available:
        raise ValueError(f"GRADCHECK_FAST_ISA: {chosen!r} is not available here; {', '.join(available)} are")
    return chosen
