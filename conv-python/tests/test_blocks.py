"""Compiled programs on dask arrays: the bits of the whole, for any blocks."""

from __future__ import annotations

import os
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import convc
import convc.dask

MODES = ["zeros", "constant(1.5)", "reflect", "symmetric", "replicate"]


@st.composite
def programs(draw: Any) -> tuple[str, tuple[int, ...], tuple[int, ...]]:
    """One to three steps, blocks of the input, and blocks of the output."""
    rank = draw(st.integers(1, 2))
    size = [draw(st.integers(12, 40)) for _ in range(rank)]
    text = f"n{draw(st.integers(1, 3))} ic2 in {'x'.join(map(str, size))} "
    steps = []
    for at in range(draw(st.integers(1, 3))):
        kernel, dilation = draw(st.integers(1, 3)), draw(st.integers(1, 2))
        pad = draw(st.integers(0, 2))
        words = (
            f"conv{rank}d oc{draw(st.integers(1, 3))} kernel {kernel} dilation {dilation} "
            f"stride {draw(st.integers(1, 2))} pad {pad}:{draw(st.integers(0, 2))} "
            f"mode {draw(st.sampled_from(MODES))} "
        )
        bias, last = draw(st.sampled_from(["+ bias", ""])), draw(st.sampled_from([", relu", ""]))
        steps.append(words + (text if at == 0 else "") + bias + last)
    chunks = tuple(draw(st.integers(1, 20)) for _ in range(rank))
    return "; ".join(steps), chunks, tuple(draw(st.integers(4, 20)) for _ in range(rank + 1))


def arrays(c: convc.Compiled, seed: int = 1) -> tuple[Any, list[Any]]:
    random = np.random.default_rng(seed)
    x = random.standard_normal(c.input_shape).astype("f4")
    return x, [random.standard_normal(shape).astype("f4") for _, shape in c.weights]


@settings(max_examples=int(os.environ.get("CONVC_CASES", "250")) // 3, deadline=None)
@given(programs())
def test_blocks_have_the_bits_of_the_whole(program: Any) -> None:
    text, chunks, out_chunks = program
    try:
        c = convc.compile(text)
    except ValueError as error:
        assert "wider" in str(error)
        return
    x, weights = arrays(c)
    whole = c(x, *weights)
    blocks = da.from_array(x, chunks=(1, -1, *chunks))
    for said in ({}, {"chunks": out_chunks}):
        try:
            made = convc.dask.run(c, blocks, *weights, **said)
        except ValueError as error:
            assert "make blocks larger" in str(error)
            continue
        assert made.shape == whole.shape and made.dtype == whole.dtype
        with dask.config.set(scheduler="synchronous"):
            np.testing.assert_array_equal(made.compute(), whole)


def test_pools() -> None:
    c = convc.compile(
        "conv2d oc2 in 37x41 kernel 3 pad 1, relu; maxpool2d kernel 3 stride 2 pad 1;"
        "avgpool2d kernel 2 pad 1; conv2d oc3 kernel 1"
    )
    x, weights = arrays(c)
    made = convc.dask.run(c, da.from_array(x, chunks=(1, 1, 12, 15)), *weights)
    np.testing.assert_array_equal(made.compute(scheduler="synchronous"), c(x, *weights))


def test_weights_compiled_in_and_circular_padding() -> None:
    c = convc.compile("conv1d in 30 kernel 3 pad 1 mode circular", weights=[[[1.0, 2.0, 3.0]]])
    x = np.arange(30, dtype="f4")[None, None]
    whole = convc.dask.run(c, da.from_array(x, chunks=30))
    np.testing.assert_array_equal(whole.compute(scheduler="synchronous"), c(x))
    with pytest.raises(ValueError, match="width: padding mode circular reads the other end"):
        convc.dask.run(c, da.from_array(x, chunks=10))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("conv1d in 8 kernel 3 stride 2; conv1d-transposed kernel 2", "step 2: a transposed"),
        (
            "conv1d in 8 kernel 1; conv1d kernel 1 + residual from 0",
            "step 2: a step with a residual",
        ),
        ("maxpool1d in 8 kernel 3 stride 2 ceil_mode", "step 1: a step with ceil_mode"),
        ("conv1d in W kernel 3", "are numbers"),
        ("conv1d nwc in 8 kernel 3", "channels first"),
    ],
)
def test_what_is_not_cut(text: str, sentence: str) -> None:
    c = convc.compile(text)
    x = da.ones((1, 8, 1) if "nwc" in text else (1, 1, 8), chunks=4, dtype="f4")
    weights = [np.ones(shape, "f4") for _, shape in c.weights]
    with pytest.raises(ValueError, match=sentence):
        convc.dask.run(c, x, *weights)


def test_blocks_of_whole_numbers() -> None:
    random = np.random.default_rng(6)
    x = random.integers(0, 255, (1, 2, 20, 24), "u1")
    w = random.integers(-128, 127, (3, 2, 3, 3), "i1")
    c = convc.compile("conv2d u8 x i8 ic2 oc3 in 20x24 kernel 3 pad 1 stride 2")
    blocks = convc.dask.run(c, da.from_array(x, chunks=(1, 2, 8, 8)), w)
    assert blocks.dtype == np.int32
    made = blocks.compute()
    assert made.dtype == np.int32
    np.testing.assert_array_equal(made, c(x, w))
