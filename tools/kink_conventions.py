"""Writes `docs/kinks.md`: which slopes frameworks take at kinks, as `diagnosis/kinks/conventions.py` has them.

``python tools/kink_conventions.py``; with ``--check`` it only says whether the file is up to date.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from pages import DOCS, main

from gradcheck_fast.diagnosis.kinks.conventions import CONVENTIONS, VERSIONS

FILE = DOCS / "kinks.md"

TEXT = """# At kinks

Where a value lies exactly on a kink, as in `np.maximum(z, 0)` at z = 0, the loss has no derivative there: it has one
slope to each side. Every number between these is right, and a check passes it. Back-propagation takes one of them, and
frameworks take different ones. The report says which one your gradient takes, and who takes the same:

```text
Note: at 3 kinks of relu (net.py line 3) your gradient has the slope 0, as in relu of PyTorch, JAX and TensorFlow
  (the slope 0.5: maximum(x, 0) of PyTorch, JAX and autograd; the slope 1: maximum(x, 0) of TensorFlow)
```

Nothing is said where your slopes agree with none of these choices, where several choices give the same gradient, or
where trying them would take longer than you would notice.

Entries that tie whatever the parameters are, such as those of a max pooling in a part of an image that is constant, are
no kink: whichever of them the slope goes through, it is the same. That is found out by moving the parameters that they
reach one by one; where these are too many, any slope between those of all choices passes, as at a kink.

The table was measured in float64 with {versions}
(`python tools/measure_kinks.py torch` does it).

- flat, steep: the slope of the side where the function is flatter, or steeper; middle: halfway between both; right:
  that of the side of larger arguments.
- first: the whole slope goes to the first of those that tie; equal: each gets the same share.

| function | {frameworks} |
| --- |{lines}
{rows}

`maximum(x, 0)` and `relu` are the same function, and so are all that begin with `max`. Keras's functions are
TensorFlow's.
"""


def written() -> str:
    """Returns the text of the page."""
    rows = [
        f"| `{function}` | {' | '.join(row.get(name, '–') for name in VERSIONS)} |"
        for functions in CONVENTIONS.values()
        for function, row in functions.items()
    ]
    return TEXT.format(
        versions=", ".join(VERSIONS.values()), frameworks=" | ".join(VERSIONS), lines=" --- |" * len(VERSIONS),
        rows="\n".join(rows),
    )  # fmt: skip


if __name__ == "__main__":
    main(FILE, written)
