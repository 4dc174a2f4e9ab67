"""Other processes, and what is done to them."""

from __future__ import annotations

import signal
import time
from pathlib import Path

_TESTS = Path(__file__).parents[1]
#: The beginning of a script that imports modules of the tests, in whatever directory.
FINDS_TESTS = f"import sys; sys.path[:0] = {[str(path) for path in _TESTS.iterdir() if path.is_dir()]!r}\n"
#: The beginning of a script that keeps all that is done, and has a progress function that prints how far it is.
KEEPS_ALL = f"""{FINDS_TESTS}
import time
from gradcheck_fast.running import checkpoint

checkpoint.SAVE_SECONDS, checkpoint.SAVE_PART = 0.0, float("inf")

def report(fraction):
    print(fraction, flush=True)
"""


def seconds_to_end_after_ctrl_c(process, after):
    """How long a process that says when it is ready, and in the end what time it is, goes on after Ctrl-C.

    It is pressed some seconds after it is ready. `process` says "finished" if it was too late.
    """
    try:
        assert process.stdout.readline() == "ready\n"
        time.sleep(after)
        pressed = time.time()
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=30)
    finally:
        process.kill()
    assert output != "finished\n", "it was over before Ctrl-C"
    return float(output) - pressed
