"""Real numbers into arrays of any real type, as C casts."""

from __future__ import annotations

import numpy as np

from ._arrays import Array, lies_by_rows


def store(result: Array, output: Array) -> None:
    """Writes real numbers to an array of any real type, as C does: whole numbers are cut towards
    zero, those that are out of range lose their upper bits."""
    kind, size = output.dtype.kind, output.dtype.itemsize
    with np.errstate(invalid="ignore", over="ignore"):
        if kind == "f" or (kind == "i" and size >= 4):
            output[...] = result
        elif kind == "u" and size == 8:
            below = result < 0
            output[...] = np.where(
                below, result.astype(np.int64).astype(np.uint64), result.astype(np.uint64)
            )
        else:
            _store_low_bits(result, output)


def _store_low_bits(result: Array, output: Array) -> None:
    """By way of a wider integer, some at a time, which stay in the cache."""
    room = output if lies_by_rows(output) else np.empty(output.shape, output.dtype)
    wide = np.dtype(np.int32 if result.dtype == np.float32 else np.int64)
    to = room.reshape(-1).view(np.uint8) if output.dtype.kind == "b" else room.reshape(-1)
    some = np.empty(min(1 << 14, result.size), wide)
    for start in range(0, result.size, some.size):
        part = result.reshape(-1)[start : start + some.size]
        whole = some[: part.size]
        np.copyto(whole, part, casting="unsafe")
        np.copyto(to[start : start + part.size], whole, casting="unsafe")
    if output.dtype.kind == "b":
        np.not_equal(to, 0, out=room.reshape(-1))
    if room is not output:
        output[...] = room
