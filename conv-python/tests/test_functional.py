"""PyTorch's convolutions against their definition, written with NumPy."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import convc

from random_calls import Calls


def each(value: Any, rank: int) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, (list, tuple)) else (value,) * rank


def forward(x: Any, w: Any, b: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    """The definition, tap by tap, of float64 or, of whole numbers, int64."""
    rank, sums = x.ndim - 2, np.int64 if x.dtype.kind in "iu" else np.float64
    x, w = x.astype(sums), w.astype(sums)
    stride, padding, dilation = (each(v, rank) for v in (stride, padding, dilation))
    x = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in padding)])
    out = [
        (n - d * (k - 1) - 1) // s + 1
        for n, k, s, d in zip(x.shape[2:], w.shape[2:], stride, dilation)
    ]
    y = np.zeros((x.shape[0], w.shape[0], *out), sums)
    xs = x.reshape(x.shape[0], groups, -1, *x.shape[2:])
    ws = w.reshape(groups, -1, *w.shape[1:])
    for tap in itertools.product(*map(range, w.shape[2:])):
        cut = tuple(
            slice(t * d, t * d + s * (o - 1) + 1, s)
            for t, d, s, o in zip(tap, dilation, stride, out)
        )
        taps = ws[(slice(None), slice(None), slice(None), *tap)]
        y += np.einsum("ngi...,goi->ngo...", xs[(..., *cut)], taps).reshape(y.shape)
    return y + (0 if b is None else b.reshape(-1, *[1] * rank))


def transposed(
    x: Any, w: Any, b: Any, stride: Any, padding: Any, extra: Any, groups: int, dilation: Any
) -> Any:
    """Each input adds its window to the output."""
    rank, sums = x.ndim - 2, np.int64 if x.dtype.kind in "iu" else np.float64
    x, w = x.astype(sums), w.astype(sums)
    stride, padding, extra, dilation = (each(v, rank) for v in (stride, padding, extra, dilation))
    full = [
        (n - 1) * s + d * (k - 1) + 1 + e
        for n, s, d, k, e in zip(x.shape[2:], stride, dilation, w.shape[2:], extra)
    ]
    y = np.zeros((x.shape[0], groups, w.shape[1], *full), sums)
    xs = x.reshape(x.shape[0], groups, -1, *x.shape[2:])
    ws = w.reshape(groups, -1, *w.shape[1:])
    for tap in itertools.product(*map(range, w.shape[2:])):
        cut = tuple(
            slice(t * d, t * d + s * (n - 1) + 1, s)
            for t, d, s, n in zip(tap, dilation, stride, x.shape[2:])
        )
        taps = ws[(slice(None), slice(None), slice(None), *tap)]
        y[(..., *cut)] += np.einsum("ngi...,gio->ngo...", xs, taps)
    y = y.reshape(y.shape[0], -1, *full)
    y = y[(..., *(slice(p, n - p) for p, n in zip(padding, full)))]
    return y + (0 if b is None else b.reshape(-1, *[1] * rank))


def test_random_calls(cases: int) -> None:
    for seed in range(cases // 4):
        calls = Calls(seed)
        rank = calls.one([1, 2, 3])
        groups, dtype = calls.number(1, 3), calls.one(["f4", "f8"])
        i, o = calls.number(1, 3), calls.number(1, 3)
        kernel = tuple(calls.number(1, 3) for _ in range(rank))
        stride, dilation = calls.several(rank, 1, 3), calls.several(rank, 1, 2)
        size = tuple(calls.number(6, 11) for _ in range(rank))
        x = calls.array((calls.number(1, 2), i * groups, *size), dtype)
        bias = calls.array((o * groups,), dtype) if calls.maybe(0.5) else None
        if calls.maybe(0.5):
            padding = calls.several(rank, 0, 2)
            w = calls.array((o * groups, i, *kernel), dtype)
            ours = getattr(convc, f"conv{rank}d")(x, w, bias, stride, padding, dilation, groups)
            wanted = forward(x, w, bias, stride, padding, dilation, groups)
        else:
            padding = calls.several(rank, 0, 1) if min(kernel) > 2 else 0
            extra = tuple(
                calls.number(0, max(s, d) - 1)
                for s, d in zip(each(stride, rank), each(dilation, rank))
            )
            w = calls.array((i * groups, o, *kernel), dtype)
            ours = getattr(convc, f"conv_transpose{rank}d")(
                x, w, bias, stride, padding, extra, groups, dilation
            )
            wanted = transposed(x, w, bias, stride, padding, extra, groups, dilation)
        assert ours.dtype == x.dtype and ours.shape == wanted.shape, seed
        tolerance = 1e-4 if dtype == "f4" else 1e-11
        np.testing.assert_allclose(ours, wanted, atol=tolerance, rtol=tolerance, err_msg=str(seed))


X, W = np.ones((2, 4, 9, 8), "f4"), np.ones((6, 2, 3, 3), "f4")


def test_without_a_batch_and_the_same() -> None:
    y = convc.conv2d(X, W, groups=2, padding="same")
    assert y.shape == (2, 6, 9, 8)
    np.testing.assert_array_equal(convc.conv2d(X[0], W, groups=2, padding="same"), y[0])
    np.testing.assert_array_equal(
        convc.conv2d(X, W, groups=2, padding="valid"), convc.conv2d(X, W, groups=2)
    )
    out = np.empty((2, 6, 7, 8), "f4").swapaxes(1, 3)[:, :6, :, :]
    assert convc.conv2d(X, W, groups=2, out=out) is out
    assert (out == 18).all()
    assert convc.conv2d(X[:0], W, groups=2).shape == (0, 6, 7, 6)


WRONG = [
    (ValueError, "weight has shape", (X, W), {}),
    (ValueError, "groups: 3 does not divide", (X, W), {"groups": 3}),
    (ValueError, "stride has 3 numbers", (X, W), {"stride": (1, 1, 1), "groups": 2}),
    (ValueError, "'same' or 'valid'", (X, W), {"padding": "full", "groups": 2}),
    (ValueError, "stride of 1", (X, W), {"padding": "same", "stride": 2, "groups": 2}),
    (ValueError, "stride", (X, W), {"stride": 0, "groups": 2}),
    (ValueError, "input has 2 axes", (X[0, 0], W), {}),
    (ValueError, "weight has 3 axes", (X, W[0]), {}),
    (ValueError, "wider than the padded input", (X[..., :2], W), {"groups": 2}),
    (ValueError, "bias has shape", (X, W, np.ones(5, "f4")), {"groups": 2}),
    (ValueError, "out has shape", (X, W), {"groups": 2, "out": np.ones((1, 6, 7, 6), "f4")}),
    (TypeError, "out holds float64", (X, W), {"groups": 2, "out": np.ones((2, 6, 7, 6))}),
    (TypeError, "weight holds float64", (X, W.astype("f8")), {"groups": 2}),
    (TypeError, "input holds int64", (X.astype("i8"), W), {"groups": 2}),
    (TypeError, "holds >f4.* byte order", (X.astype(">f4"), W), {"groups": 2}),
    (TypeError, "stride: found 1.9, expected whole", (X, W), {"stride": (1.9, 1.9), "groups": 2}),
    (TypeError, "stride: found '22', expected whole", (X, W), {"stride": "22", "groups": 2}),
    (TypeError, "groups: found 1.7, expected whole", (X, W), {"groups": 1.7}),
    (ValueError, "padding is -1, but must be at least 0", (X, W), {"padding": -1, "groups": 2}),
]


@pytest.mark.parametrize(("kind", "sentence", "args", "said"), WRONG)
def test_mistakes(kind: type[Exception], sentence: str, args: Any, said: Any) -> None:
    with pytest.raises(kind, match=sentence):
        convc.conv2d(*args, **said)
