"""What `watch` shows: the new verdict beside the last one."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, NamedTuple, TextIO

from gradcheck_fast.cli.formats import in_words
from gradcheck_fast.cli.many import STYLES
from gradcheck_fast.cli.outcome import NOT_CHECKED, Outcome
from gradcheck_fast.inputs.arguments import duration
from gradcheck_fast.report.source import short_path

if TYPE_CHECKING:
    from rich.console import RenderableType

    from gradcheck_fast.cli.targets import Target


class State(NamedTuple):
    """What is shown.

    Attributes
    ----------
    now : Outcome or None
        The newest outcome; None if there is none yet.
    before : Outcome or None
        The last one before it that is a verdict: what is saved in between may be half-written.
    at : str
        When `now` came.
    is_checking : bool
        Whether a check is going on.
    is_gone : bool
        Whether there is no file any more.
    """

    now: Outcome | None = None
    before: Outcome | None = None
    at: str = ""
    is_checking: bool = False
    is_gone: bool = False

    def after(self, outcome: Outcome) -> State:
        """Returns the state after another outcome."""
        is_verdict = self.now is not None and self.now.verdict != NOT_CHECKED
        return State(outcome, self.now if is_verdict else self.before, time.strftime("%H:%M:%S"))


def changes(before: Outcome | None, now: Outcome) -> str:
    """Says which arrays of the gradient are right now that were not, which still are not, and which no longer are."""
    then, new = _bad(before), _bad(now)
    if then is None or new is None:
        return ""
    parts = (("mended", then - new), ("still wrong", then & new), ("newly wrong", new - then))
    return "; ".join(f"{what}: {', '.join(sorted(names))}" for what, names in parts if names)


def _bad(outcome: Outcome | None) -> set[str] | None:
    """The arrays that are wrong; None if there is no report."""
    if outcome is None or outcome.report is None:
        return None
    return {array["name"] for array in outcome.report["arrays"] if array["status"] == "wrong"}


class Screen(AbstractContextManager["Screen"]):
    """Shows states, and is left as a context manager."""

    #: The width of the terminal for which reports are coloured; 0 for no colours.
    width = 0

    def show(self, state: State) -> None:
        """Shows a state."""
        raise NotImplementedError

    def __exit__(self, *error: object) -> None:
        return None


class Lines(Screen):
    """Writes each verdict as a line, for files and pipes."""

    def __init__(self, target: Target, out: TextIO) -> None:
        self._target = target
        self._out = out

    def show(self, state: State) -> None:
        """Writes a line, unless a check is only beginning."""
        if state.is_gone:
            said = f"{time.strftime('%H:%M:%S')} {self._target} is gone"
        elif state.is_checking or state.now is None:
            return
        else:
            said = f"{state.at} {state.now.verdict} {headline(state.now)} (before: {_name(state.before)})"
        print(said, file=self._out, flush=True)


class Terminal(Screen):
    """Updates one screen of a terminal, and leaves the last verdict behind when it is left."""

    def __init__(self, target: Target, out: TextIO) -> None:
        from rich.console import Console  # these imports take time, which only those who look at it need spend
        from rich.live import Live

        self._target = target
        self._state = State()
        self._console = Console(file=out)
        self._live = Live(console=self._console, screen=True, auto_refresh=False, vertical_overflow="crop")

    @property
    def width(self) -> int:  # type: ignore[override]  # it may change at any time
        """The width of the terminal."""
        return self._console.width

    def show(self, state: State) -> None:
        """Updates the screen."""
        self._state = state
        self._live.update(self._render(), refresh=True)

    def __enter__(self) -> Terminal:
        self._live.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.__exit__(None, None, None)
        now = self._state.now
        if now is not None:
            self._console.print(f"{self._target}: {now.verdict} {headline(now)}", markup=False, highlight=False)

    def _render(self) -> RenderableType:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        state = self._state
        doing = "is gone; waiting for it" if state.is_gone else "checking ..." if state.is_checking else ""
        head = Text.assemble(
            (str(self._target), "bold"), f"  {doing or f'checked at {state.at}'}  ", ("Ctrl-C ends", "dim")
        )
        if state.now is None:
            return head
        both = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), expand=True)
        both.add_column("now", ratio=2)
        both.add_column("before", ratio=1)
        both.add_row(*(_cell(outcome) for outcome in (state.now, state.before)))
        rest = Text.from_ansi(state.now.coloured) if state.now.coloured else Text(state.now.text)
        printed = [Text(f"\nit printed:\n{state.now.output}", "dim")] if state.now.output else []
        return Group(head, Text(), both, Text(changes(state.before, state.now)), Text(), rest, *printed)


def _cell(outcome: Outcome | None) -> RenderableType:
    from rich.text import Text

    if outcome is None:
        return Text("-", "dim")
    return Text.assemble((outcome.verdict, STYLES[outcome.verdict]), f" {headline(outcome)}")


def headline(outcome: Outcome) -> str:
    """Says in a line what came of a check, where the mistake is, and how long it took."""
    where = "" if outcome.place is None else f", {short_path(outcome.place[0])}:{outcome.place[1]}"
    return f"{in_words(outcome)}{where}, in {duration(outcome.seconds)}"


def _name(outcome: Outcome | None) -> str:
    return "nothing" if outcome is None else outcome.verdict


def make_screen(target: Target, out: TextIO) -> Screen:
    """Returns what shows verdicts in a file: a screen if it is a terminal, else lines."""
    return Terminal(target, out) if out.isatty() else Lines(target, out)
