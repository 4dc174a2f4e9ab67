"""What there is to read in a picture."""

from __future__ import annotations


def words(figure):
    """All texts of a figure, line by line."""
    from matplotlib.text import Text

    return "\n".join(text.get_text() for text in figure.findobj(Text))
