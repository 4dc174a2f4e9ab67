"""The exit codes of the command line."""

from __future__ import annotations

#: The exit code if the gradient is right; of many files, if each that was checked is.
RIGHT = 0
#: The exit code if a gradient is wrong, or too little could be checked: what shells take for a failure.
WRONG = 1
#: The exit code of bad usage or input, which is also argparse's; of many files, if none is wrong, but some could not be
#: checked.
BAD_INPUT = 2
#: The exit code after Ctrl-C: 128 and the number of SIGINT, as shells have it.
INTERRUPTED = 130
#: The exit code if nobody reads the output any more: 128 and the number of SIGPIPE, as shells have it.
NOBODY_READS = 141
EXIT_CODES = f"""\
Exit codes: {RIGHT} the gradient is right; {WRONG} it is wrong, or too little could be checked; {BAD_INPUT} bad usage or
input; {INTERRUPTED} interrupted by Ctrl-C; {NOBODY_READS} what it prints is no longer read. Of many files: {RIGHT} all
are right; {WRONG} some are wrong; {BAD_INPUT} none is wrong, but some could not be checked.
"""
