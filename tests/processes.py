"""Other processes, and what is done to them."""

from __future__ import annotations

import signal
import time

#: The beginning of a script that keeps all that is done, and has a progress function that prints how far it is.
KEEPS_ALL = """
import sys, time
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
