"""Blocks with what lies around them, in memory that is used again."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from ._arrays import Array
from ._filter import NUMPY_MODES

_rooms = threading.local()


def room(shape: Sequence[int], dtype: np.dtype[Any]) -> Array:
    """An array of any contents, until this thread asks for the next one: fresh memory costs as much
    as what is written to it."""
    if dtype.hasobject:
        return np.empty(shape, dtype)
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    held: Array | None = getattr(_rooms, "held", None)
    if held is None or not size <= held.size <= 2 * size:
        held = _rooms.held = np.empty(size, np.uint8)
    return held[:size].view(dtype).reshape(shape)


def fill_border(x: Array, sides: Sequence[tuple[int, int]], mode: str, cval: Any) -> None:
    """Fills the outermost elements, so many before and behind along each axis, from those inside,
    as the mode says."""
    for axis, (before, behind) in enumerate(sides):
        extent = x.shape[axis]
        inside = extent - before - behind
        if inside == 0 or not (before or behind):
            continue
        where = [*range(before), *range(extent - behind, extent)]
        if mode == "constant":
            for to in where:
                _across(x, axis, to)[...] = cval
            continue
        positions = np.pad(np.arange(inside), (before, behind), NUMPY_MODES[mode]) + before
        for to in where:
            _across(x, axis, to)[...] = _across(x, axis, int(positions[to]))


def _across(x: Array, axis: int, at: int) -> Array:
    cut: list[Any] = [slice(None)] * x.ndim
    cut[axis] = slice(at, at + 1)
    part: Array = x[tuple(cut)]
    return part
