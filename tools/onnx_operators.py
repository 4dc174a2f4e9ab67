"""Writes `docs/onnx-operators.md`: which operators of ONNX are known, and where other implementations differ.

``python tools/onnx_operators.py`` makes the calls of `tests/helpers/onnx_cases` by the table of operators, by
onnxruntime and by ``onnx.reference``. With ``--check`` it only says whether the file is up to date, which depends on
the versions of both.
"""

from __future__ import annotations

import sys
import textwrap
import warnings
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests" / "helpers"), str(ROOT / "tools")]

import onnx_cases  # noqa: E402
import onnx_peers  # noqa: E402
from pages import DOCS, main  # noqa: E402

from gradcheck_fast.frontends.onnx.table import entries  # noqa: E402

FILE = DOCS / "onnx-operators.md"

#: How many calls of each operator are made in each opset.
SEEDS = 8
#: How two results agree, from best to worst.
AGREES, ROUNDS, DIFFERS = "agrees", "float32", "differs"
#: How long the attributes of an example may be.
LONGEST = 100
#: An example, which `tests/test_docs.py` runs.
EXAMPLE = '''What the nodes of a model have become is in a report:

```python
import numpy as np
import onnx.parser

import gradcheck_fast as gf

model = onnx.parser.parse_model("""
    <ir_version: 9, opset_import: ["" : 20]>
    net (float[4, 2] x) => (float[4, 2] y) <float[2, 2] W = {0.5, -1.0, 0.25, 2.0}>
    { z = MatMul (x, W)  h = Gelu (z)  y = LogSoftmax (h) }
""")
X = np.linspace(-1.0, 1.0, 8).reshape(4, 2)
report = gf.onnx.gradcheck(model, {"W": np.zeros((2, 2))}, X, np.array([0, 1, 1, 0]), loss=gf.CrossEntropy())
for line in report.lines:
    print(line.text, "->", line.operations)
```

```text
node 0, MatMul -> matmul
node 1, Gelu -> gelu
node 2, LogSoftmax -> logsumexp, subtract
CrossEntropy -> gather, select, logsumexp, subtract, softplus, sum, divide
```
'''

TEXT = """# ONNX operators

`gf.onnx` computes these operators by its own table, in NumPy and float64, on plain arrays and on those that record what
is done to them. The opsets are those at which ONNX changed the operator; the table knows each of them, and those in
between. Other operators that ONNX defines as functions are computed as these; such are
{functions}.
What is left is computed by `onnx.reference`, one node at a time: then it is differenced by itself, and the report names
it. Where that does not know it either, an error names the node, its operator and the opset.

No graph is believed: the loss is compared with that of onnxruntime or of `onnx.reference`. So the two columns say what
these did in {calls:,} calls at random attributes and inputs (onnx {onnx}, onnxruntime {runtime}):

- agrees: to 1e-12 in float64.
- float32: to 1e-5. onnxruntime has kernels of float32 only, or one of the two rounds to float32 inside.
- differs: an example follows. onnxruntime is otherwise taken to be right.
- —: it does not know the operator, or not these attributes.
- not compared: it draws random numbers, or takes graphs or sequences, which have tests of their own.

{example}
`python tools/onnx_operators.py` writes this file.

| operator | opsets | onnxruntime | onnx.reference |
| --- | --- | --- | --- |
{rows}

## Where implementations differ

Small calls at which one of them does something else, or all three do what is easily missed.

| call | gradcheck_fast | onnxruntime | onnx.reference |
| --- | --- | --- | --- |
{probes}
"""


class Result(NamedTuple):
    """How an implementation agrees with the table in some calls."""

    kinds: list[str]
    example: str


def agreement(found: Any, own: Any) -> str:
    """Returns how two lists of outputs agree."""
    worst = AGREES
    for x, y in zip(found, own, strict=True):
        error = onnx_peers.difference(x, y)
        if not error <= 1e-5:
            return DIFFERS
        if error > 1e-12:
            worst = ROUNDS
    return worst


def measured() -> dict[tuple[str, str], tuple[dict[str, list[str]], dict[str, str]]]:
    """Returns for each operator how each implementation agreed in each call, and an example where it does not."""
    found: dict[tuple[str, str], Any] = defaultdict(lambda: (defaultdict(list), {}))
    for name, domain, opset, seed in onnx_cases.all_calls(SEEDS):
        call = onnx_cases.make(name, domain, opset, seed)
        own = onnx_peers.by_table(call)
        kinds, examples = found[domain, name]
        for peer, compute in (("onnxruntime", onnx_peers.by_onnxruntime), ("onnx.reference", onnx_peers.by_reference)):
            try:
                other = compute(call)
            except onnx_peers.CannotError:
                kinds[peer].append("")
                continue
            kind = agreement(other, own)
            kinds[peer].append(kind)
            if kind == DIFFERS and (peer not in examples or len(described(call)) < len(examples[peer])):
                examples[peer] = described(call)
    return dict(found)


def described(call: onnx_cases.Call) -> str:
    """Returns the opset and the attributes of a call."""
    said = [f"{a.name}={onnx_peers.plain_attribute(a)}" for a in call.node.attribute]
    names = {"x4": "sequence_lens"} if call.operator in ("RNN", "GRU", "LSTM") else {}
    said += [other for name, other in names.items() if name in call.inputs]
    text = f"opset {call.opset}{', ' if said else ''}{', '.join(said)}"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def cell(kinds: list[str], example: str | None) -> str:
    """Returns what the table says of an implementation."""
    known = [kind for kind in kinds if kind]
    if not known:
        return "—"
    if DIFFERS in known:
        return f"differs: {example}"
    return ROUNDS if ROUNDS in known else AGREES


def rows() -> Iterator[str]:
    """Yields the lines of the table of operators."""
    results = measured()
    known = {(domain, name) for domain, name, _ in entries()}
    for domain, name in sorted(known | set(results)):
        title = f"{domain}.{name}" if domain else name
        opsets = ", ".join(map(str, onnx_cases.opsets_of(name, domain))) if not domain else "1–"
        if (domain, name) in results:
            kinds, examples = results[domain, name]
            cells = [cell(kinds[peer], examples.get(peer)) for peer in ("onnxruntime", "onnx.reference")]
        else:
            cells = ["not compared", "not compared"]
        yield f"| `{title}` | {opsets} | {' | '.join(cells)} |"


def probes() -> Iterator[str]:
    """Yields the lines of the table of single calls."""
    for text, call in onnx_cases.probes():
        values = []
        for compute in (onnx_peers.by_table, onnx_peers.by_onnxruntime, onnx_peers.by_reference):
            try:
                values.append(" ".join(onnx_peers.written(array) for array in compute(call)))
            except onnx_peers.CannotError:
                values.append("—")
        yield f"| {text} | {' | '.join(values)} |"


def text() -> str:
    """Returns what the file should contain."""
    import onnxruntime

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        table, single = "\n".join(rows()), "\n".join(probes())
    known = {(domain, name) for domain, name, _ in entries()}
    functions = sorted(name for domain, name in onnx_cases.CALLS if (domain, name) not in known)
    return TEXT.format(
        example=EXAMPLE,
        rows=table, probes=single, functions="\n".join(wrapped(functions)),
        calls=sum(1 for _ in onnx_cases.all_calls(SEEDS)), onnx=onnx.__version__, runtime=onnxruntime.__version__,
    )  # fmt: skip


def wrapped(names: list[str]) -> list[str]:
    """Returns names as lines of text."""
    return textwrap.wrap(", ".join(f"`{name}`" for name in names), 120)


if __name__ == "__main__":
    main(FILE, text)
