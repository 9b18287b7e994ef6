"""`convc.signal` against `scipy.signal`, in random calls."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.signal as scipy

import convc
from convc import signal

from random_calls import Calls, close, outcome, same_kind

TYPES = ["f8", "f8", "f4", "i4", "u1", "i8", "c8", "c16"]


def check(seed: int) -> None:
    calls = Calls(seed)
    name = calls.one(["convolve", "correlate", "convolve2d"])
    ndim = 2 if name == "convolve2d" else calls.one([0, 1, 1, 2, 2, 3, 4])
    dtype = calls.one(TYPES)
    x = calls.array(calls.shape(ndim, empty=0), dtype)
    y = calls.array(calls.shape(ndim, empty=0), calls.one([dtype, dtype, calls.one(TYPES)]))
    if calls.maybe(0.5):
        y = y[tuple(slice(0, 4) for _ in y.shape)]
    said: dict[str, Any] = {"mode": calls.one(["full", "same", "valid"])}
    if name == "convolve2d":
        said["boundary"] = calls.one(["fill", "wrap", "symm"])
        if said["boundary"] == "fill" and calls.maybe(0.5):
            said["fillvalue"] = 2
    what = (seed, name, x.dtype, x.shape, y.dtype, y.shape, said)
    theirs = outcome(
        getattr(scipy, name), x, y, **said, **({} if name == "convolve2d" else {"method": "direct"})
    )
    ours = outcome(getattr(signal, name), x, y, **said)
    if same_kind(ours, theirs, what):
        return
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    fewer = min(x.size, y.size)
    largest = float(np.abs(x).max()) if x.size else 0.0
    size = fewer * max(largest, said.get("fillvalue", 0)) * float(np.abs(y).max()) * 4
    close(ours, theirs, fewer, size, what)
    if ours.dtype.kind not in "fc":
        np.testing.assert_array_equal(ours, theirs, str(what))


def test_random_calls(cases: int) -> None:
    for seed in range(cases):
        check(seed)


ONE, TWO = np.ones(3), np.ones((3, 3))
WRONG: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("convolve", (ONE, TWO), {}),
    ("convolve", (ONE, ONE), {"mode": "half"}),
    ("convolve", (ONE, ONE), {"method": "slow"}),
    ("correlate", (TWO, ONE), {}),
    ("convolve", (np.ones((2, 5)), np.ones((5, 2))), {"mode": "valid"}),
    ("convolve2d", (ONE, ONE), {}),
    ("convolve2d", (TWO, TWO), {"boundary": "reflect"}),
    ("convolve2d", (TWO, TWO), {"mode": "half"}),
    ("convolve2d", (TWO, TWO), {"fillvalue": [1, 2]}),
]


@pytest.mark.parametrize(("name", "args", "said"), WRONG)
def test_same_mistakes_same_exceptions(name: str, args: Any, said: Any) -> None:
    theirs = outcome(getattr(scipy, name), *args, **said)
    ours = outcome(getattr(signal, name), *args, **said)
    assert isinstance(theirs, Exception)
    assert same_kind(ours, theirs, (name, said))


def test_what_is_refused() -> None:
    large = np.full(3, 2**40)
    with pytest.raises(ValueError, match="2\\*\\*53"):
        signal.convolve(large, large)
    for dtype in ("f2", "g", "O"):
        with pytest.raises(TypeError, match="not summed here"):
            signal.convolve(ONE.astype(dtype), ONE.astype(dtype))


def test_empty_and_bool() -> None:
    assert signal.convolve(np.ones((3, 0)), np.ones((2, 2))).shape[1] <= 1
    both = signal.convolve(np.array([True, False]), np.array([True, True]))
    assert both.dtype == bool and both.tolist() == [True, True, False]


def test_two_large_arrays() -> None:
    random = np.random.default_rng(1)
    x, y = random.random((60, 70)), random.random((50, 40))
    for mode in ("full", "same", "valid"):
        wanted = scipy.convolve(x, y, mode)
        np.testing.assert_allclose(signal.convolve(x, y, mode), wanted, rtol=1e-10)
        for call in (signal.convolve, lambda a, b, *s: signal.correlate(a, b[::-1, ::-1], *s)):
            np.testing.assert_allclose(call(x, y, mode, "fft"), wanted, rtol=1e-10)
    assert convc.signal is signal


def test_flags_do_not_change_the_type() -> None:
    flags = np.array([True, False, True])
    for kind in ("?", "u1", "u2", "u4", "i1", "f4"):
        x = np.arange(5).astype(kind)
        assert signal.correlate(x, flags).dtype == scipy.correlate(x, flags).dtype == x.dtype


def test_whole_numbers_are_exact_by_any_method() -> None:
    random = np.random.default_rng(2)
    x, y = random.integers(0, 256, (60, 70)), random.integers(-9, 9, (20, 20))
    wanted = scipy.convolve(x, y, method="direct")
    np.testing.assert_array_equal(signal.convolve(x, y, method="fft"), wanted)
    np.testing.assert_array_equal(signal.convolve(x, y, accuracy="fast"), wanted)
