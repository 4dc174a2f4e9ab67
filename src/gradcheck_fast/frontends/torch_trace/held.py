"""What autograd holds fixed though it depends on parameters, and so does a trace."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gradcheck_fast.program.program import Source


@dataclass
class Held:
    """What is held fixed, as autograd does.

    Attributes
    ----------
    lines : list of Source
        The lines that cut off a value which depends on the parameters.
    padding : list of (int, Source)
        The rows that embeddings have for padding, and the lines that look them up.
    """

    lines: list[Source] = field(default_factory=list)
    padding: list[tuple[int, Source]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.lines or self.padding)

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for the report, which name the lines."""
        if not self.lines:
            return self.notes_on_padding
        lines = ", ".join(dict.fromkeys(str(source) for source in self.lines if any(source)))
        said = (
            "what is detached, or computed with gradients switched off, is held fixed, as autograd does"
            f"{f' ({lines})' if lines else ''}; a straight-through estimator is checked as the function that autograd "
            "differentiates"
        )
        return (said, *self.notes_on_padding)

    @property
    def notes_on_padding(self) -> tuple[str, ...]:
        """Those of `notes` that are about rows for padding."""
        rows = ", ".join(dict.fromkeys(f"row {row}{f' ({at})' if any(at) else ''}" for row, at in self.padding))
        return (
            f"an embedding's row for padding is held fixed where it is looked up, as autograd does: {rows}",
        ) * bool(rows)
