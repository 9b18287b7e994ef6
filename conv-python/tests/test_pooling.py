"""`convc.pooling` against windows of NumPy."""

from typing import Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

import convc

RANDOM = np.random.default_rng(5)


def windows(x: Any, fill: float, kernel: Any, stride: Any, pad: Any, dilation: Any) -> Any:
    """The elements under each window of an array without ceil_mode, behind its axes."""
    rank = len(kernel)
    edge = [(0, 0)] * (x.ndim - rank) + [(p, p) for p in pad]
    x = np.pad(x, edge, constant_values=fill)
    span = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation))
    seen = sliding_window_view(x, span, axis=tuple(range(x.ndim - rank, x.ndim)))
    every = (
        ...,
        *(slice(None, None, s) for s in stride),
        *(slice(None, None, d) for d in dilation),
    )
    return seen[every].reshape(*seen[every].shape[: x.ndim], -1)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_pools_are_those_of_windows(rank: int) -> None:
    max_pool = getattr(convc, f"max_pool{rank}d")
    avg_pool = getattr(convc, f"avg_pool{rank}d")
    for _ in range(12):
        kernel, stride, dilation = (RANDOM.integers(1, 4, rank).tolist() for _ in range(3))
        pad = [int(RANDOM.integers(0, k // 2 + 1)) for k in kernel]
        x = RANDOM.integers(-9, 9, (2, 3, *RANDOM.integers(9, 14, rank))).astype("f4")
        said = {"stride": stride, "padding": pad}
        wanted = windows(x, -np.inf, kernel, stride, pad, dilation).max(-1)
        got = max_pool(x, kernel, dilation=dilation, **said)
        np.testing.assert_array_equal(got, wanted)
        np.testing.assert_array_equal(max_pool(x[0], kernel, dilation=dilation, **said), got[0])
        ones = [1] * rank
        seen = windows(x, 0.0, kernel, stride, pad, ones)
        np.testing.assert_allclose(avg_pool(x, kernel, **said), seen.mean(-1), rtol=1e-6)
        inside = windows(np.ones_like(x), 0.0, kernel, stride, pad, ones).sum(-1)
        means = avg_pool(x, kernel, count_include_pad=False, **said)
        np.testing.assert_allclose(means, seen.sum(-1) / inside, rtol=1e-6)


def test_a_stride_is_the_window_unless_said() -> None:
    x = np.arange(7.0).reshape(1, 7)
    np.testing.assert_array_equal(convc.max_pool1d(x, 3), [[2, 5]])
    np.testing.assert_array_equal(convc.max_pool1d(x, 3, ceil_mode=True), [[2, 5, 6]])
    np.testing.assert_array_equal(convc.max_pool1d(x.astype("u1"), 3), [[2, 5]])
    out = np.empty((1, 2))
    assert convc.max_pool1d(x, 3, out=out) is out and (out == [[2, 5]]).all()


def test_mistakes() -> None:
    x = np.ones((1, 2, 5, 5), "f4")
    for kind, sentence, call in [
        (ValueError, "input has 4 axes, but maxpool1d takes 3", lambda: convc.max_pool1d(x, 2)),
        (TypeError, "kernel_size: found 1.5, expected whole", lambda: convc.max_pool2d(x, 1.5)),
        (ValueError, "stride is 0, but must be", lambda: convc.avg_pool2d(x, 2, 0)),
        (ValueError, "kernel_size has 3 numbers", lambda: convc.avg_pool2d(x, (1, 2, 3))),
        (TypeError, "input holds int64", lambda: convc.max_pool2d(x.astype("i8"), 2)),
        (ValueError, "divides", lambda: convc.avg_pool2d(x.astype("u1"), 2)),
    ]:
        with pytest.raises(kind, match=sentence):
            call()
