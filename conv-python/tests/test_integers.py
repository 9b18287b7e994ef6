"""Arrays of whole numbers: compiled objects and layers against sums of int64."""

from __future__ import annotations

import itertools
import pickle
from typing import Any

import numpy as np
import pytest

import convc

from test_functional import forward, transposed

TYPES = ["i1", "u1", "i2", "u2", "i4"]


def drawn(random: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Any:
    """Any numbers of the type."""
    range_ = np.iinfo(dtype)
    return random.integers(range_.min, range_.max, shape, dtype, endpoint=True)


def wrapped(sums: Any) -> Any:
    """Modulo 2^32."""
    return sums.astype(np.int32)


@pytest.mark.parametrize(("x", "w"), list(itertools.product(TYPES, TYPES)))
def test_layers_of_every_type(x: str, w: str) -> None:
    random = np.random.default_rng([ord(x[1]), ord(w[1]), ord(x[0])])
    inputs, weight = drawn(random, (2, 4, 6, 19), x), drawn(random, (6, 2, 3, 3), w)
    bias = drawn(random, (6,), "i4")
    made = convc.conv2d(inputs, weight, bias, (1, 2), (1, 0), 1, 2)
    assert made.dtype == np.int32
    np.testing.assert_array_equal(
        made, wrapped(forward(inputs, weight, bias, (1, 2), (1, 0), 1, 2))
    )
    # Read in steps, and written into a part of another array.
    out = np.zeros((2, 6, 6, 20), "i4")[..., 1:10]
    there = convc.conv2d(inputs[::-1], weight, bias, (1, 2), (1, 0), 1, 2, out=out)
    assert there is out
    np.testing.assert_array_equal(out, made[::-1])


def test_other_ranks_and_transposed() -> None:
    random = np.random.default_rng(3)
    for rank in (1, 2, 3):
        x, w = drawn(random, (1, 2, *(5,) * rank), "u1"), drawn(random, (2, 3, *(2,) * rank), "i1")
        made = getattr(convc, f"conv_transpose{rank}d")(x, w, stride=2)
        np.testing.assert_array_equal(made, transposed(x, w, None, 2, 0, 0, 1, 1))
        w = w.swapaxes(0, 1)
        made = getattr(convc, f"conv{rank}d")(x, w)
        np.testing.assert_array_equal(made, forward(x, w, None, 1, 0, 1, 1))


def test_compiled_objects() -> None:
    random = np.random.default_rng(4)
    x, w = drawn(random, (1, 3, 9, 9), "u1"), drawn(random, (5, 3, 3, 3), "i1")
    b = drawn(random, (5,), "i2")
    sums = forward(x, w, b, 1, 1, 1, 1)
    for text, wanted in (
        ("u8 x i8 -> i32", sums),
        ("u8 x i8 -> u8", sums.clip(0, 255)),
        ("u8 x i8 -> i16", sums.clip(-(2**15), 2**15 - 1)),
    ):
        c = convc.compile(f"conv2d {text} ic3 oc5 in 9 kernel 3 pad 1 + bias i16")
        made = c(x, w, b)
        assert made.dtype == c.output_dtype and c.dtype == np.uint8
        np.testing.assert_array_equal(made, wanted)
    said = {"input": 9, "kernel": 3, "in_channels": 3, "out_channels": 5, "padding": 1}
    c = convc.compile("conv2d", dtype="u8 x i8", **said)
    np.testing.assert_array_equal(c(x, w), sums - b.reshape(-1, 1, 1))
    # Names of types are the compiler's where both have them: NumPy's "i8" has eight bytes.
    assert [convc.compile("conv1d", dtype=d, input=3, kernel=1).dtype for d in ("i8", "u8")] == [
        np.int8,
        np.uint8,
    ]
    assert convc.compile("conv1d", dtype=np.int16, input=3, kernel=1).dtype == np.int16
    pool = convc.compile("maxpool2d u8 ic3 in 9 kernel 3 stride 3")(x)
    np.testing.assert_array_equal(pool, x.reshape(1, 3, 3, 3, 3, 3).max((3, 5)))
    known = convc.compile("conv1d i8 in 6 kernel 3", weights=[[[1, -2, 1]]])
    line = drawn(random, (1, 1, 6), "i1")
    wanted = np.correlate(line[0, 0].astype(int), [1, -2, 1])
    np.testing.assert_array_equal(known(line)[0, 0], wanted)


def test_a_zero_point() -> None:
    random = np.random.default_rng(5)
    x, w = drawn(random, (2, 3, 7, 7), "u1"), drawn(random, (4, 3, 3, 3), "i1")
    b = drawn(random, (4,), "i2").astype("i4")
    described = "conv2d u8 x i8 n2 ic3 oc4 in 7 kernel 3 pad 1"
    for zero, bias in ((0, None), (128, None), (255, b)):
        text, left = convc.without_zero_point(
            described + (" + bias" if bias is not None else ""), zero, w, bias
        )
        wanted = forward(x.astype(int) - zero, w, bias, 1, 1, 1, 1)
        np.testing.assert_array_equal(convc.compile(text)(x, w, left), wanted)
    for mistake, sentence in (
        ((described, 256, w), "256 is no u8"),
        ((described, 2**40, w), "1099511627776 is no number of the input's type"),
        ((described, 1, w[:3]), "weight has shape"),
        ((described, 1, w.ravel()), "weight has shape"),
        (("conv1d in 9 kernel 3", 1, np.ones((1, 1, 3), "f4")), "no sums of integers"),
    ):
        with pytest.raises(ValueError, match=sentence):
            convc.without_zero_point(*mistake)
    with pytest.raises(TypeError, match="weight holds uint8, but the convolution takes int8"):
        convc.without_zero_point(described, 1, w.view("u1"))
    with pytest.raises(TypeError, match="bias holds int64"):
        convc.without_zero_point(described + " + bias", 1, w, b.astype("i8"))


def test_sums_become_bytes_where_they_are_computed() -> None:
    random = np.random.default_rng(6)
    x, w = drawn(random, (1, 3, 9, 9), "u1"), drawn(random, (2, 3, 3, 3), "i1")
    b, scales = drawn(random, (2,), "i2").astype("i4"), np.array([0.002, 0.0005], "f4")
    rest = f"onnx scale {float(scales[0])},{float(scales[1])} zero_point 100"
    c = convc.compile(
        f"conv2d u8 x i8 -> u8 ic3 oc2 in 9 kernel 3 pad 1 + bias i32, requantise {rest}"
    )
    sums = forward(x, w, b, 1, 1, 1, 1).astype("f4")
    wanted = np.rint(sums * scales[:, None, None]) + 100
    made = c(x, w, b)
    assert made.dtype == np.uint8 and len(np.unique(made)) > 50
    np.testing.assert_array_equal(made, wanted.clip(0, 255))
    # What travels is the text, scales with it.
    there = pickle.loads(pickle.dumps(c))
    assert there.text == c.text
    np.testing.assert_array_equal(there(x, w, b), made)
    said = {"input": 9, "kernel": 3, "in_channels": 3, "out_channels": 2, "padding": 1}
    same = convc.compile("conv2d", dtype="u8 x i8 -> u8", bias=True, requantise=rest, **said)
    assert same.text == c.text
    for mistake, sentence in (
        ("onnx scale 1,2,3", "3 scales, but there are 2 output channels"),
        ("onx scale 1", "did you mean `onnx`"),
        ("scale 1 zero_point 256", "the zero point 256 is no u8"),
    ):
        with pytest.raises(ValueError, match=sentence):
            convc.compile("conv2d", dtype="u8 x i8 -> u8", requantise=mistake, **said)
    with pytest.raises(TypeError, match="text: a description such as"):
        convc.compile(5)  # type: ignore[arg-type]


X, W = np.ones((1, 2, 5, 5), "u1"), np.ones((3, 2, 3, 3), "i1")
ALL = "one of float32, float64, float16, int8, uint8, int16, uint16, int32"


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        ((X.astype("i8"), W), f"input holds int64, but must hold {ALL}"),
        ((X, W.astype("u4")), f"weight holds uint32, but must hold {ALL}"),
        ((X, W.astype("f4")), "weight holds float32, but input holds uint8"),
        ((X.astype("f4"), W), "weight holds int8, but input holds float32"),
        ((X, W, np.ones(3, "i2")), "bias holds int16, but sums are of int32"),
        ((X, W, np.ones(3, "f4")), "bias holds float32, but sums are of int32"),
        ((X > 0, W), "input holds bool"),
    ],
)
def test_mistakes_of_layers(args: Any, sentence: str) -> None:
    with pytest.raises(TypeError, match=sentence):
        convc.conv2d(*args)


def test_mistakes_of_compiled_objects() -> None:
    c = convc.compile("conv2d u8 x i8 ic2 oc3 in 5 kernel 3")
    with pytest.raises(TypeError, match="x holds int8, but the convolution takes uint8"):
        c(X.view("i1"), W)
    with pytest.raises(TypeError, match="weight holds uint8, but the convolution takes int8"):
        c(X, W.view("u1"))
    with pytest.raises(TypeError, match="out holds int64, but the convolution gives int32"):
        c(X, W, out=np.ones((1, 3, 3, 3), "i8"))
    with pytest.raises(TypeError, match="dtype: <i8, but the types are float32"):
        convc.compile("conv1d", dtype=np.int64, input=3, kernel=1)
    with pytest.raises(TypeError, match="out holds uint8, but the convolution gives int32"):
        convc.conv2d(X, W, out=np.ones((1, 3, 3, 3), "u1"))
