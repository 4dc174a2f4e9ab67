"""``gradcheck-fast watch``: a verdict after each save, whatever happens to the file."""

import io
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time

import pytest
import submissions

from gradcheck_fast.cli.main import main
from gradcheck_fast.cli.outcome import Outcome
from gradcheck_fast.cli.screen import Lines, State, Terminal, changes
from gradcheck_fast.cli.targets import Target, split

RUN = "import sys; del sys.path[0]; from gradcheck_fast.cli.main import main; sys.exit(main())"
RIGHT = submissions.NETWORK.format(seed=0, samples=4, inputs=3, hidden=2, outputs=2)
WRONG = RIGHT.replace(*submissions.MISTAKES["sign"])
#: Within so many seconds a verdict comes, on a machine that is busy with something else.
PATIENCE = 60


class Watched:
    """A file, and the command that watches it."""

    def __init__(self, path, *options):
        self.path = path
        path.write_text(RIGHT)
        command = [sys.executable, "-c", RUN, "watch", str(path), *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._lines = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self._lines.put(line.strip())

    def expect(self, said):
        """Waits for a line that matches."""
        met, end = [], time.monotonic() + PATIENCE
        while not met or not re.search(said, met[-1]):
            try:
                met.append(self._lines.get(timeout=max(0.0, end - time.monotonic())))
            except queue.Empty:
                pytest.fail(f"no {said!r} among {met}")

    def save(self, text, *, replaced=False):
        path = self.path.with_suffix(".new") if replaced else self.path
        path.write_text(text)
        if replaced:
            os.replace(path, self.path)

    def end(self):
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout=PATIENCE)


@pytest.fixture
def watch(tmp_path):
    pytest.importorskip("watchfiles", reason="watchfiles tells of changes")
    started = []

    def watch(*options):
        started.append(Watched(tmp_path / "net.py", *options))
        return started[-1]

    yield watch
    for watched in started:
        watched.process.kill()
        watched.process.wait()
        watched.process.stdout.close()


def test_a_verdict_comes_after_each_save(watch):
    watched = watch()
    watched.expect(r" PASS .*\(before: nothing\)")
    watched.save(WRONG, replaced=True)
    watched.expect(r" FAIL .*most likely: .*wrong sign.*\(before: PASS\)")
    watched.save(WRONG[:300])
    watched.expect(r" NOT CHECKED .*\(before: FAIL\)")
    watched.path.unlink()
    watched.expect(r"net.py is gone")
    watched.save(RIGHT)
    watched.expect(r" PASS .*\(before: FAIL\)")
    assert watched.end() == 0


@pytest.mark.long
def test_it_survives_whatever_a_file_does(watch):
    watched = watch("--timeout", "2")
    watched.expect(" PASS ")
    for text, said in submissions.BROKEN.values():
        watched.save(RIGHT + text)
        watched.expect(f" NOT CHECKED .*{said}")
    for text in ("x = (", "raise KeyboardInterrupt\n", "import sys\nsys.exit(0)\n", "input()\n"):
        watched.save(text)
        watched.expect(" NOT CHECKED raised")
    watched.save(RIGHT + "import os\nos.kill(os.getppid(), 9)\n")
    watched.expect("ended the process that watched over it")
    watched.save(WRONG)
    watched.expect(" FAIL ")
    assert watched.end() == 1


DEMO = """
import gradcheck_fast as gf
from gradcheck_fast.cli import demo

X, y = demo.digits()
net = gf.Network([gf.Dense(64, demo.HIDDEN, "tanh"), gf.Dense(demo.HIDDEN, 10)], cost=gf.CrossEntropy())
params, loss = net.init(seed=0), net.loss(X, y)
gradient = demo.backpropagate(params, X, y, mistake=False)
"""


@pytest.mark.long
def test_the_verdict_on_the_demonstration_comes_within_a_third_of_a_second(watch):
    watched = watch()
    watched.expect(" PASS ")
    for verdict in ("FAIL", "PASS") * 2:
        for _ in range(30):  # the fastest counts: the machine may be busy with something else
            time.sleep(0.1)
            watched.save(DEMO.replace("False", str(verdict == "FAIL")), replaced=True)
            began = time.perf_counter()
            watched.expect(f" {verdict} ")
            if time.perf_counter() - began < 0.3:
                break
        else:
            pytest.fail(f"no {verdict} came within 0.3 s of a save")


@pytest.mark.long
def test_a_save_ends_the_check_that_is_going_on(watch):
    watched = watch()
    watched.expect(" PASS ")
    watched.save(RIGHT + "while True:\n    pass\n")
    time.sleep(1.0)
    watched.save(WRONG)
    watched.expect(r" FAIL .*\(before: PASS\)")


@pytest.mark.long
def test_a_module_that_is_imported_and_a_directory_that_is_replaced(watch, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "__init__.py").write_text("scale = 1.0\n")
    watched = watch()
    watched.expect(" PASS ")
    scaled = (
        RIGHT
        + "\n\nimport mine\n\nright = gradient\ngradient = lambda p: {k: v * mine.scale for k, v in right(p).items()}\n"
    )
    watched.save(scaled)
    watched.expect(" PASS ")
    (tmp_path / "mine" / "__init__.py").write_text("scale = 3.0\n")
    watched.expect(" FAIL ")
    tmp_path.rename(tmp_path.with_name("elsewhere"))
    watched.expect("is gone")
    tmp_path.mkdir()
    watched.save(RIGHT)
    watched.expect(" PASS ")
    watched.save(WRONG)
    watched.expect(" FAIL ")


def test_a_missing_file_and_a_missing_library_are_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    assert main(["watch", str(tmp_path / "net.py")]) == 2
    assert 'pip install "gradcheck_fast[watch]"' in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "watchfiles", io)
    assert main(["watch", str(tmp_path / "net.py")]) == 2
    assert "no such file" in capsys.readouterr().err


def outcome(verdict, *wrong):
    arrays = [{"name": name, "status": "wrong" if name in wrong else "right"} for name in ("W1", "b1", "W2")]
    return Outcome("net.py", "net.py", verdict, f"said of {verdict}", report={"arrays": arrays})


BROKEN = Outcome("net.py", "net.py", "NOT CHECKED", "raised SyntaxError")


def test_the_last_verdict_stays_while_a_file_is_half_written():
    state = State().after(outcome("PASS")).after(BROKEN).after(BROKEN)
    assert (state.now, state.before) == (BROKEN, outcome("PASS"))
    state = state.after(outcome("FAIL", "W1"))
    assert (state.now.verdict, state.before.verdict) == ("FAIL", "PASS")


def test_what_has_changed_is_named():
    before, now = outcome("FAIL", "W1", "b1"), outcome("FAIL", "b1", "W2")
    assert changes(before, now) == "mended: W1; still wrong: b1; newly wrong: W2"
    assert changes(before, BROKEN) == changes(None, now) == ""


def test_a_pipe_gets_a_line_for_each_verdict():
    out = io.StringIO()
    lines = Lines(split("net.py"), out)
    state = State().after(outcome("PASS"))
    for shown in (state, state._replace(is_checking=True), state.after(outcome("FAIL", "W1"))):
        lines.show(shown)
    first, second = out.getvalue().splitlines()
    assert "PASS said of PASS" in first
    assert "FAIL said of FAIL" in second
    assert second.endswith("(before: PASS)")


def test_a_terminal_shows_both_verdicts():
    class Tty(io.StringIO):
        def isatty(self):
            return True

    out = Tty()
    with Terminal(Target(split("net.py").file), out) as screen:
        screen.show(State(outcome("PASS"), outcome("FAIL", "W1"), "12:00:00"))
        shown = out.getvalue()
    for said in ("said of PASS", "said of FAIL", "mended: W1", "checked at 12:00:00"):
        assert said in shown
    assert "net.py: PASS said of PASS" in out.getvalue()[len(shown) :]
