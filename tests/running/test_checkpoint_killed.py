"""A run that is killed, again and again, goes on from its checkpoint, and ends with the same result."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from processes import KEEPS_ALL

KILLED = f"""{KEEPS_ALL}
import numpy as np
import gradcheck_fast as gf
from gradcheck_fast.engine import engine as methods

what, path, out, size = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
random = np.random.default_rng(1)
if what == "function":
    loss, params, method = lambda x: (time.sleep(1e-3), float(np.tanh(x).sum()))[1], random.normal(size=size), "auto"
else:
    methods.CHUNK_DOUBLES = 1
    layers = [gf.Dense(20, size, "gelu"), gf.Dense(size, size, "gelu"), gf.Dense(size, 5)]
    net = gf.Network(layers, cost=gf.CrossEntropy())
    loss = net.loss(random.normal(size=(120, 20)), random.integers(5, size=120))
    params, method = random.normal(size=sum(map(np.prod, net.shapes.values()))) / size**0.5, what

found = gf.numerical_gradient(loss, params, method=method, progress=report, n_threads=1,
                              checkpoint=None if path == "none" else path)
np.save(out, np.concatenate([np.ravel(a) for a in found.values()]) if isinstance(found, dict) else found)
"""


def run(arguments, seconds=None):
    """Runs the script, and kills it after the given seconds of work.

    Returns the fractions that it has printed, its exit code, and how many seconds it took.
    """
    command = [sys.executable, "-c", KILLED, *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        first = process.stdout.readline()
        started = time.monotonic()
        try:
            rest, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            rest, _ = process.communicate()
    return [float(line) for line in (first + rest).splitlines()], process.returncode, time.monotonic() - started


@pytest.mark.parametrize(
    ("what", "size", "kills"),
    [
        pytest.param("function", 500, 2, marks=pytest.mark.long),
        ("incremental", 150, 2),
        pytest.param("function", 1000, 5, marks=pytest.mark.long),
        pytest.param("direct", 60, 5, marks=pytest.mark.long),
        pytest.param("incremental", 220, 5, marks=pytest.mark.long),
        pytest.param("units", 900, 5, marks=pytest.mark.long),
    ],
)
def test_killed_again_and_again_it_ends_with_the_same_result(what, size, kills, tmp_path):
    random = np.random.default_rng(size)
    _, code, seconds = run([what, "none", tmp_path / "expected.npy", size])
    assert code == 0
    arguments = [what, tmp_path / "run.npz", tmp_path / "found.npy", size]
    reached = 0.0
    for _ in range(kills):
        fractions, code, _ = run(arguments, random.uniform(0.0, seconds / kills))
        assert code == -signal.SIGKILL, "done before it was killed"
        assert fractions[0] > reached, "what was reported had been saved"
        reached = fractions[-1]
    assert run(arguments)[1] == 0
    assert (tmp_path / "found.npy").read_bytes() == (tmp_path / "expected.npy").read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["expected.npy", "found.npy", "run.npz"]


CHAINED = f"""{KEEPS_ALL}
import os
import signal
import numpy as np
import gradcheck_fast as gf
from gradcheck_fast.engine import chain

path, out, killed_at = sys.argv[1], sys.argv[2], float(sys.argv[3])
chain.CHUNK_DOUBLES = 1
random = np.random.default_rng(1)
net = gf.Network([gf.GRU(3, 8), gf.Dense(8, 2)], cost=gf.CrossEntropy())
loss, params = net.loss(random.normal(size=(600, 4, 3)), random.integers(2, size=600)), net.init(0)

def told(fraction):
    report(fraction)
    if fraction >= killed_at:
        os.kill(os.getpid(), signal.SIGKILL)

found = gf.numerical_gradient(loss, params, method="chain", progress=told, n_threads=1,
                              checkpoint=None if path == "none" else path)
np.save(out, np.concatenate([np.ravel(a) for a in found.values()]))
"""


def test_a_killed_chain_goes_on_to_the_same_bits(tmp_path):
    def run_chain(path, killed_at=2.0):
        command = [sys.executable, "-c", CHAINED, str(path), str(tmp_path / "found.npy"), str(killed_at)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        return [float(line) for line in done.stdout.splitlines()], done.returncode

    assert run_chain("none")[1] == 0
    expected = (tmp_path / "found.npy").read_bytes()
    (tmp_path / "found.npy").unlink()
    fractions, code = run_chain(tmp_path / "run.npz", 0.01)
    assert code == -signal.SIGKILL
    assert 0.0 < fractions[-1] < 1.0
    more, code = run_chain(tmp_path / "run.npz")
    assert code == 0
    assert more[0] > fractions[-1], "what was done before is not done again"
    assert (tmp_path / "found.npy").read_bytes() == expected
