"""Arrays that are parts of larger ones, called often: the bits of copies of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import convc

from random_calls import Calls


def boxed(calls: Calls, x: Any) -> Any:
    """The same numbers in a part of a larger array, in any order of memory."""
    before, behind = ([calls.number(0, 3) for _ in x.shape] for _ in range(2))
    steps = [calls.one([1, 1, 1, 2, -1]) for _ in x.shape[:-1]] + [calls.one([1] * 8 + [2, -1])]
    full = [b + n * abs(s) + a for b, n, s, a in zip(before, x.shape, steps, behind)]
    whole = np.full(full, 7, x.dtype, order=calls.one("CCCF"))
    cut = [slice(b, b + n * abs(s)) for b, n, s in zip(before, x.shape, steps)]
    part = whole[tuple(cut)][tuple(slice(None, None, s) for s in steps)]
    part[...] = x
    return part


def same(calls: Calls, function: Any, x: Any, *args: Any, word: str = "out", **said: Any) -> None:
    """Of three calls at one place, of which the second has code, with and without an output."""
    wanted = function(x, *args, **said)
    part = boxed(calls, x)
    out = boxed(calls, np.zeros_like(wanted))
    around = out.base if out.base is not None else out
    for _ in range(3):
        np.testing.assert_array_equal(function(part, *args, **said), wanted)
        out[...] = 7
        function(part, *args, **said, **{word: out})
        np.testing.assert_array_equal(out, wanted)
        assert int((around != 7).sum()) == int((wanted != 7).sum())


def test_compiled_objects(cases: int) -> None:
    texts = [
        "conv2d n2 ic3 oc5 in 9x13 kernel 3 pad 1 + bias, relu",
        "conv2d f64 n2 g2 ic4 oc6 in 7x20 kernel 3x1 stride 2 pad 1 mode reflect",
        "conv2d nhwc n2 ic3 oc8 in 9x7 kernel 3",
        "conv1d f16 n3 ic2 oc2 in 33 kernel 5 pad 2",
        "conv3d n2 in 5x6x9 kernel 3 pad 1",
        "conv2d u8 x i8 ic2 oc3 in 8x9 kernel 3",
        "conv2d-transposed ic2 oc2 in 6 kernel 3 stride 2",
        "maxpool2d n2 ic3 in 9x12 kernel 3 stride 2",
        "conv2d ic2 oc3 in 12 kernel 3 pad 1, relu; conv2d oc2 kernel 3 pad 1",
        "conv2d nN ic2 in HxW kernel 3 pad 1",
    ]
    for seed in range(cases // 4):
        calls = Calls(seed)
        c = convc.compile(calls.one(texts))
        sizes = [n if isinstance(n, int) else calls.number(3, 9) for n in c.input_shape]
        x = (calls.random.standard_normal(sizes) * 9).astype(c.dtype)
        weights = [
            calls.random.standard_normal(shape).astype("f4").astype(dtype)
            for (_, shape, dtype) in c._asked()
        ]
        same(calls, c.pack(*weights), x)


def test_a_residual() -> None:
    calls = Calls(1)
    c = convc.compile("conv2d n2 ic3 oc4 in 9x7 kernel 1 + residual").pack(
        np.ones((4, 3, 1, 1), "f4")
    )
    x, added = (calls.random.standard_normal((2, n, 9, 7)).astype("f4") for n in (3, 4))
    wanted = c(x, residual=added)
    for _ in range(3):
        made = c(boxed(calls, x), residual=boxed(calls, added))
        np.testing.assert_array_equal(made, wanted)


def test_layers(cases: int) -> None:
    for seed in range(cases // 8):
        calls = Calls(seed)
        batch = calls.one([(2,), ()])
        x = calls.random.standard_normal((*batch, 4, 9, calls.number(5, 20))).astype("f4")
        weight = calls.random.standard_normal((6, 2, 3, 3)).astype("f4")
        same(calls, convc.conv2d, x, weight, padding=1, groups=2)


@pytest.mark.parametrize("mode", ["constant", "reflect", "wrap"])
def test_filters(cases: int, mode: str) -> None:
    for seed in range(cases // 8):
        calls = Calls(seed)
        shape = calls.one([(30,), (12, 20), (7, 9, 11), (3, 4, 5, 9)])
        x = calls.random.standard_normal(shape).astype(calls.one(["f4", "f8"]))
        size = calls.one([1, 3, 7])
        window = calls.random.standard_normal([size] + [3] * (x.ndim - 1))
        same(calls, convc.convolve, x, window, word="output", mode=mode)
        same(calls, convc.gaussian_filter, x, 0.8, word="output", mode=mode)
        same(calls, convc.sobel, x, word="output", mode=mode)
        axis = calls.number(0, x.ndim - 1)
        same(calls, convc.uniform_filter1d, x, 3, axis, word="output", mode=mode)


def test_an_output_whose_elements_share_memory() -> None:
    x = np.arange(6, dtype="f4").reshape(1, 1, 2, 3)
    c = convc.compile("conv2d in 2x3 kernel 1").pack(np.ones((1, 1, 1, 1), "f4"))
    room = np.zeros(4, "f4")
    out = np.lib.stride_tricks.as_strided(room, (1, 1, 2, 3), (0, 0, 4, 4))
    c(x, out=out)
    np.testing.assert_array_equal(room, [0, 3, 4, 5])


def test_more_axes_than_a_view_has() -> None:
    x = np.ones((1,) * 30 + (2, 1, 1, 3))
    np.testing.assert_array_equal(convc.convolve(x, np.ones((1,) * 33 + (3,))), 3 * x)
    c = convc.compile("conv1d in 2 kernel 1", weights=[[[1.0]]])
    with pytest.raises(ValueError, match="x has 34 axes, but 32 at most"):
        c._ready.run(np.ones((1,) * 33 + (4,), "f4")[..., ::2], np.ones((1, 1, 2), "f4"))
