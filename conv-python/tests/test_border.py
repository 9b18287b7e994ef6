"""Borders that come with a block are `numpy.pad`'s."""

from __future__ import annotations

import numpy as np
import pytest

from convc._border import fill_border, room
from convc._filter import NUMPY_MODES


@pytest.mark.parametrize("mode", NUMPY_MODES)
@pytest.mark.parametrize("sides", [((1, 2), (0, 3)), ((0, 0), (9, 0)), ((7, 8), (20, 1))])
def test_as_numpy_pads(mode: str, sides: tuple[tuple[int, int], ...]) -> None:
    inside = np.random.default_rng(1).random((4, 5))
    said = {"constant_values": 2.5} if mode == "constant" else {}
    wanted = np.pad(inside, sides, NUMPY_MODES[mode], **said)
    x = room(wanted.shape, inside.dtype)
    x[...] = np.nan
    (top, _), (left, _) = sides
    x[top : top + 4, left : left + 5] = inside
    fill_border(x, sides, mode, 2.5)
    np.testing.assert_array_equal(x, wanted)
    assert room((3, 2), np.dtype("f8")).shape == (3, 2)
