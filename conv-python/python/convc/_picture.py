"""The windows of a program as a small SVG, for notebooks."""

from __future__ import annotations

import re
from collections.abc import Sequence

#: Taps of an axis that are drawn at most; a longer window is drawn to here.
_MOST = 31
_CELL = 9


def windows(text: str) -> str:
    """The last two axes of each step's window: what one output reads, its taps filled."""
    return "".join(_window(line) for line in text.splitlines())


def _window(step: str) -> str:
    kernel = _numbers(step, "kernel", ())
    dilation = _numbers(step, "dilation", (1,))
    dilation = dilation * len(kernel) if len(dilation) == 1 else dilation
    taps = [range(0, (k - 1) * d + 1, d) for k, d in zip(kernel, dilation)][-2:]
    taps = [range(1), *taps] if len(taps) == 1 else taps
    rows, columns = (t[: t.index(t[-1]) + 1] for t in taps)
    height, width = (min(t[-1] + 1, _MOST) for t in (rows, columns))
    cells = "".join(
        f'<rect x="{c * _CELL + 1}" y="{r * _CELL + 1}" width="{_CELL - 1}" '
        f'height="{_CELL - 1}" fill="{"#2a6fb0" if r in rows and c in columns else "#d5dde5"}"/>'
        for r in range(height)
        for c in range(width)
    )
    size = f'width="{width * _CELL + 1}" height="{height * _CELL + 1}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} style="margin:4px">{cells}</svg>'


def _numbers(step: str, word: str, default: Sequence[int]) -> tuple[int, ...]:
    found = re.search(rf"\b{word} ([\dx]+)", step)
    return tuple(map(int, found[1].split("x"))) if found else tuple(default)
