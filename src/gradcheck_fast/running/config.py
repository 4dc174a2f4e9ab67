"""Shows on what the engine runs here."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradcheck_fast._version import __version__
from gradcheck_fast.inputs.arguments import choose
from gradcheck_fast.kernels import _kernels
from gradcheck_fast.kernels.instruction_sets import instruction_set
from gradcheck_fast.running.threads import resolve


def show_config(mode: str = "stdout") -> dict[str, Any] | None:
    """Prints what the engine runs on: instruction set, threads, OpenMP, versions.

    Parameters
    ----------
    mode : {"stdout", "dicts"}
        Whether to print it, or to return it as a dict.

    Returns
    -------
    dict or None
        With ``mode="dicts"``: ``version``, ``instruction_set`` (in use), ``instruction_sets`` (of this build and CPU,
        best first), ``openmp``, ``threads`` (used by default), ``python``, ``numpy``, ``platform``.

    Raises
    ------
    TypeError
        If `mode` is not a string.
    ValueError
        If `mode` is neither of the two, or ``GRADCHECK_FAST_ISA`` names an instruction set that is not available.
    """
    import platform  # only who asks waits for its import

    choose("mode", mode, ("stdout", "dicts"))
    config = {
        "version": __version__,
        "instruction_set": instruction_set(),
        "instruction_sets": _kernels.instruction_sets(),
        "openmp": _kernels.has_openmp,
        "threads": resolve(None),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "platform": platform.platform(),
    }
    if mode == "dicts":
        return config
    print("gradcheck_fast", config.pop("version"))
    for name, value in config.items():
        shown = ", ".join(value) if isinstance(value, tuple) else value
        print(f"  {name.replace('_', ' ') + ':':18}{shown}")
    return None
