"""Random arrays, windows and arguments of filters, and how far two results may be apart."""

from __future__ import annotations

from typing import Any

import numpy as np

MODES = ["reflect", "constant", "nearest", "mirror", "wrap", "grid-wrap", "grid-mirror"]
REAL = ["f8"] * 4 + ["f4"] * 3 + ["u1", "i2", "i4", "i8", "u2", "u4", "?", ">f4", ">f8", ">i4"]
TYPES = [*REAL, *REAL, "c8", "c16"]


class Calls:
    """A source of them, by seed."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)

    def one(self, of: Any) -> Any:
        return of[int(self.random.integers(len(of)))]

    def maybe(self, share: float) -> bool:
        return bool(self.random.random() < share)

    def number(self, low: int, high: int) -> int:
        return int(self.random.integers(low, high, endpoint=True))

    def several(self, rank: int, low: int, high: int) -> int | tuple[int, ...]:
        """One number for all axes, or one for each."""
        if self.maybe(0.6):
            return self.number(low, high)
        return tuple(self.number(low, high) for _ in range(rank))

    def shape(self, ndim: int | None = None, empty: float = 0.03) -> tuple[int, ...]:
        ndim = self.one([0, 1, 1, 2, 2, 2, 3, 3, 4]) if ndim is None else ndim
        most = [1, 40, 14, 8, 5][ndim]
        shape = [int(n) for n in self.random.integers(1, most, ndim, endpoint=True)]
        if shape and self.maybe(empty):
            shape[int(self.random.integers(ndim))] = 0
        return tuple(shape)

    def array(self, shape: tuple[int, ...], dtype: str) -> Any:
        """Of small numbers, in any order and direction of memory, also with strides of zero."""
        wanted = np.dtype(dtype)
        steps = [self.one([1, 1, 1, 2, -1, -2]) for _ in shape]
        full = tuple(max(n * abs(s), 1) for n, s in zip(shape, steps))
        values = self.random.standard_normal(full) * 4
        if wanted.kind in "iu":
            values = np.floor(np.abs(values)) if wanted.kind == "u" else np.round(values)
        if wanted.kind == "c":
            values = values + 1j * self.random.standard_normal(full)
        if wanted.kind == "b":
            values = values > 0
        order = self.one("CCF")
        x = np.array(values, dtype=wanted, order=order)
        if shape:
            x = x[tuple(slice(None, None, s) for s in steps)][tuple(slice(0, n) for n in shape)]
        if x.ndim and x.size and self.maybe(0.05):
            axis = int(self.random.integers(x.ndim))
            x = np.broadcast_to(np.take(x, [0], axis), x.shape)
        assert x.shape == shape and x.dtype == wanted
        return x

    def weights(self, shape: tuple[int, ...], whole: bool) -> Any:
        w = self.random.standard_normal(shape)
        if whole:
            w = np.round(w * 2)
        if self.maybe(0.2) and w.size:
            w.flat[int(self.random.integers(w.size))] = 0
        return w

    def origin(self, size: int, wrong: float = 0.02) -> int:
        if self.maybe(wrong):
            return size
        return int(self.random.integers(-(size // 2), (size - 1) // 2, endpoint=True))


def outcome(function: Any, *args: Any, **kwargs: Any) -> Any:
    """The result, or the exception."""
    try:
        return function(*args, **kwargs)
    except Exception as error:
        return error


def same_kind(ours: Any, theirs: Any, what: Any) -> bool:
    """Whether both raised, exceptions of one kind; fails where one did."""
    if isinstance(ours, Exception) or isinstance(theirs, Exception):
        assert isinstance(ours, Exception), f"{what}: only SciPy raised {theirs!r}"
        assert isinstance(theirs, Exception), f"{what}: only convc raised {ours!r}"
        assert isinstance(ours, type(theirs)), f"{what}: {ours!r} is no {theirs!r}"
        return True
    return False


def close(ours: Any, theirs: Any, terms: float, size: float, what: Any, passes: int = 1) -> None:
    """Same shape and type; floats apart by no more than the rounding of sums of `terms` products
    whose absolute values add up to `size`; whole numbers equal, or one apart where a sum that is
    no whole number was cut."""
    assert ours.shape == theirs.shape and ours.dtype == theirs.dtype, what
    if ours.size == 0:
        return
    if ours.dtype.kind in "fc":
        eps = np.finfo(ours.dtype).eps
        bound = 4 * eps * (terms + 2) * passes * size + np.finfo(ours.dtype).tiny
        assert float(np.abs(ours - theirs).max()) <= bound, what
