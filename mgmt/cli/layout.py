"""A table as lines of text: the columns that fit, by rank; nothing is padded at the end of a line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text

__all__ = ["Column", "Layout"]

EDGE = " "
_WORDS_LEAST = 36  # characters of the last column for which others make room


@dataclass(frozen=True, slots=True)
class Column:
    """A title, its side, least and most characters, and a rank: a narrow terminal goes without the highest ones."""

    title: str
    right: bool
    least: int
    most: int
    rank: int = 0  # 0: always there


class Layout:
    """The columns and widths with which *cells*, rows of one text a column, fit *width*; None: all, as they are.

    The last column is one of words: it has what is left, and the others make room for the first of them.
    """

    def __init__(self, columns: Sequence[Column], cells: Sequence[Sequence[Text]], width: int | None) -> None:
        self._width = width
        longest = [max([c.least, *(cell_len(row[n].plain) for row in cells)]) for n, c in enumerate(columns)]
        words = len(columns) - 1
        taken = [n for n in range(len(columns)) if n < words or any(row[n].plain for row in cells)]
        self._widths = {n: longest[n] if width is None else min(longest[n], columns[n].most) for n in taken}
        self._columns = columns
        if width is None:
            return
        ranked = sorted((n for n in taken if columns[n].rank), key=lambda n: columns[n].rank)
        least = min(longest[words], _WORDS_LEAST) if words in self._widths else 0

        def left() -> int:
            return width - len(EDGE) - sum(w + 1 for n, w in self._widths.items() if n != words)

        while ranked and left() < least:
            del self._widths[ranked.pop()]
        if words in self._widths:
            self._widths[words] = max(1, min(left(), longest[words]))
        for n in self._widths:  # names that are cut get what is free: two of them can begin alike
            self._widths[n] += max(0, min(longest[n] - self._widths[n], width - self.used))

    @property
    def used(self) -> int:
        """Characters of the longest possible line."""
        return len(EDGE) + sum(w + 1 for w in self._widths.values()) - 1

    @property
    def titles(self) -> list[str]:
        """The columns that are there."""
        return [self._columns[n].title for n in self._widths]

    def shows(self, column: int, characters: int) -> bool:
        """Say whether a column is there with room for so many characters."""
        return self._widths.get(column, 0) >= characters

    def head(self) -> list[Text]:
        """Return the line of titles, and a rule."""
        titles = [Text(c.title, "bold") for c in self._columns]
        return [self.line(titles), Text(EDGE + "─" * (self.used - len(EDGE)), "dim")]

    def line(self, cells: Sequence[Text]) -> Text:
        """Return a row."""
        line = Text(EDGE)
        for n, width in self._widths.items():
            cell = cells[n].copy()
            cell.truncate(width, overflow="ellipsis")
            cell.align("right" if self._columns[n].right else "left", width)
            line.append_text(cell)
            line.append(" ")
        line.rstrip()
        return self.cut(line)

    def cut(self, line: Text) -> Text:
        """Return a line that is no longer than the terminal is wide."""
        if self._width is not None:
            line.truncate(self._width, overflow="ellipsis")
        return line
