"""Files such as students hand in: a network of their own with its back-propagation, right, with a mistake, or worse.

`write` makes a directory of them, from a seed, and returns what is to be said of each.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

#: A network of one hidden layer. Each mistake is another text for one of its lines.
NETWORK = """\
import numpy as np

rng = np.random.default_rng({seed})
X = rng.standard_normal(({samples}, {inputs}))
Y = rng.standard_normal(({samples}, {outputs}))
params = {{
    "W1": rng.standard_normal(({inputs}, {hidden})) / 2,
    "b1": rng.standard_normal({hidden}) / 2,
    "W2": rng.standard_normal(({hidden}, {outputs})) / 2,
    "b2": rng.standard_normal({outputs}) / 2,
}}


def loss(p):
    a = np.tanh(X @ p["W1"] + p["b1"])
    z = a @ p["W2"] + p["b2"]
    return 0.5 * np.sum((z - Y) ** 2) / len(X) + 0.05 * np.sum(p["W1"] ** 2)


def gradient(p):
    a = np.tanh(X @ p["W1"] + p["b1"])
    z = a @ p["W2"] + p["b2"]
    dz = (z - Y) / len(X)
    dW2 = a.T @ dz
    db2 = dz.sum(axis=0)
    da = dz @ p["W2"].T
    ds = da * (1 - a**2)
    dW1 = X.T @ ds + 0.1 * p["W1"]
    db1 = ds.sum(axis=0)
    return {{"W1": dW1, "b1": db1, "W2": dW2, "b2": db2}}
"""
#: Mistakes: the line that is right, and what is written instead.
MISTAKES = {
    "mean": ("    dz = (z - Y) / len(X)", "    dz = z - Y"),
    "sign": ("    dz = (z - Y) / len(X)", "    dz = (Y - z) / len(X)"),
    "factor": ("    dz = (z - Y) / len(X)", "    dz = 2 * (z - Y) / len(X)"),
    "no-slope": ("    ds = da * (1 - a**2)", "    ds = da"),
    "slope": ("    ds = da * (1 - a**2)", "    ds = da * (1 - a)"),
    "sigmoid": ("    ds = da * (1 - a**2)", "    ds = da * a * (1 - a)"),
    "penalty": ('    dW1 = X.T @ ds + 0.1 * p["W1"]', "    dW1 = X.T @ ds"),
    "penalty-half": ('    dW1 = X.T @ ds + 0.1 * p["W1"]', '    dW1 = X.T @ ds + 0.05 * p["W1"]'),
    "bias-mean": ("    db1 = ds.sum(axis=0)", "    db1 = ds.mean(axis=0)"),
    "bias-sample": ("    db2 = dz.sum(axis=0)", "    db2 = dz[0]"),
}
#: What files do that end, hang or crash the process that runs them, and what is said of them.
BROKEN = {
    "loop": ("while True:\n    pass\n", "time limit"),
    "lock": ("import threading\n\nlock = threading.Lock()\nlock.acquire()\nlock.acquire()\n", "time limit"),
    "exit": ("import os\n\nos._exit(0)\n", "ended its process"),
    "segfault": ("import ctypes\n\nctypes.string_at(0)\n", "signal 11"),
    "abort": ("import os\n\nos.abort()\n", "signal 6"),
}
#: What files do that need not keep anybody from checking them.
AWKWARD = {
    "prints": "for k in range(20_000):\n    print('loss', k, '.' * 100)\n",
    "forks": "import os, time\n\nif os.fork() == 0:\n    time.sleep(600)\n",
    "closes": "import sys\n\nsys.stdout.close()\n",
    "threads": "import threading, time\n\nthreading.Thread(target=time.sleep, args=(600,)).start()\n",
}


class Submission(NamedTuple):
    """A file, what its verdict is to be, what is to be in the message, and the line with the mistake if it has one."""

    path: Path
    verdict: str
    message: str
    line: int | None


def write(directory: Path, *, wrong: int, right: int, broken: int, seed: int = 0) -> list[Submission]:
    """Writes so many files with each mistake, right ones of each kind, and ones that do each of what is in `BROKEN`."""
    rng = np.random.default_rng(seed)
    found = []

    def put(name, text, verdict, message="", line=None):
        path = directory / f"{len(found):03}_{name}.py"
        path.write_text(text)
        found.append(Submission(path, verdict, message, line))

    def network():
        sizes = {"samples": 3, "inputs": 2, "hidden": 2, "outputs": 1}
        sizes = {name: least + int(rng.integers(6)) for name, least in sizes.items()}
        return NETWORK.format(seed=int(rng.integers(2**31)), **sizes)

    for name, (line, instead) in MISTAKES.items():
        for _ in range(wrong):
            text = network()
            put(name, text.replace(line, instead), "FAIL", "wrong", text.splitlines().index(line) + 1)
    for k in range(right):
        name = ["right", *AWKWARD][k % (1 + len(AWKWARD))]
        put(name, network() + AWKWARD.get(name, ""), "PASS", "agrees")
    for name, (text, message) in BROKEN.items():
        for _ in range(broken):
            put(name, network() + text, "NOT CHECKED", message)
    return found
