"""Filters block by block: the bits of the whole, for any blocks."""

from __future__ import annotations

import os
import pickle
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import scipy.ndimage as scipy
from hypothesis import example, given, settings
from hypothesis import strategies as st

import convc
import convc.dask

MODES = ["reflect", "constant", "nearest", "mirror", "wrap"]

#: Filters that take a mode for each axis.
BY_AXIS = ("gaussian_filter", "gaussian_laplace", "laplace", "prewitt", "sobel", "uniform_filter")


@st.composite
def calls(draw: Any) -> tuple[Any, ...]:
    """A filter with its arguments, a shape and its blocks."""
    ndim = draw(st.integers(1, 3))
    shape = tuple(draw(st.integers(1, 24)) for _ in range(ndim))
    chunks = tuple(draw(st.integers(1, size)) for size in shape)
    name = draw(st.sampled_from(convc.ndimage.__all__))
    said: dict[str, Any] = {"mode": draw(st.sampled_from(MODES)), "cval": 1.5}
    args: list[Any] = []
    if name in ("convolve", "correlate"):
        window = tuple(draw(st.integers(1, 5)) for _ in range(ndim))
        args = [np.random.default_rng(1).standard_normal(window)]
        said["origin"] = [draw(st.integers(-(k // 2), (k - 1) // 2)) for k in window]
    elif name in ("convolve1d", "correlate1d"):
        args, said["axis"] = [[0.5, 1.0, -2.0, 0.25]], draw(st.integers(0, ndim - 1))
    elif name.startswith("gaussian"):
        args = [draw(st.sampled_from([0.5, 1.0, 2.0]))]
    elif name.startswith("uniform"):
        args = [draw(st.integers(1, 6))]
    if name in ("sobel", "prewitt"):
        said["axis"] = draw(st.integers(0, ndim - 1))
    if name in BY_AXIS and draw(st.booleans()):
        said["mode"] = [draw(st.sampled_from(MODES)) for _ in range(ndim)]
    dtype = draw(st.sampled_from(["f4", "f8", "i4", "u1", "c16"]))
    takes_nan = name in ("convolve", "gaussian_filter", "uniform_filter") and dtype != "c16"
    if takes_nan and draw(st.booleans()):
        said["nan"] = "normalize"
        args = [np.abs(args[0]) + 0.1] if name == "convolve" else args
    return name, args, said, shape, chunks, dtype


@settings(max_examples=int(os.environ.get("CONVC_CASES", "250")) // 2, deadline=None)
@given(calls())
@example(("convolve", [np.array([[0.25, 0.5]])], {"mode": "mirror"}, (1, 2), (1, 1), "f4"))
@example(("gaussian_laplace", [0.5], {"mode": ["reflect", "wrap"]}, (5, 8), (5, 4), "f4"))
def test_blocks_have_the_bits_of_the_whole(call: Any) -> None:
    name, args, said, shape, chunks, dtype = call
    x = (np.random.default_rng(2).standard_normal(shape) * 9).astype(dtype)
    if said.get("nan") and x.dtype.kind == "f":
        x[np.random.default_rng(3).random(shape) < 0.1] = np.nan
    function = getattr(convc, name)
    whole = function(x, *args, **said)
    blocks = function(da.from_array(x, chunks=chunks), *args, **said)
    assert isinstance(blocks, da.Array)
    assert blocks.dtype == whole.dtype and blocks.shape == whole.shape
    with dask.config.set(scheduler="synchronous"):
        np.testing.assert_array_equal(blocks.compute(), whole)


KINDS = ("u1", None), ("i4", None), ("f8", "i4"), ("u1", "f4")


@pytest.mark.parametrize(("kind", "output"), KINDS)
def test_sums_of_terms_in_whole_numbers(kind: str, output: str | None) -> None:
    x = (np.random.default_rng(7).random((15, 8)) * 200).astype(kind)
    for function in (convc.laplace, convc.gaussian_laplace, convc.sobel):
        extra = {"sigma": 1.0} if function is convc.gaussian_laplace else {}
        whole = function(x, output=output, **extra)
        blocks = function(da.from_array(x, chunks=(5, 8)), output=output, **extra).compute()
        assert blocks.dtype == whole.dtype
        np.testing.assert_array_equal(blocks, whole)


def test_nothing_is_computed_before_it_is_asked_for() -> None:
    def fail(block: Any) -> Any:
        raise AssertionError("computed")

    x = da.ones((100, 100), chunks=30, dtype="f4").map_blocks(
        fail, dtype="f4", meta=np.ones((0, 0))
    )
    y = convc.gaussian_filter(x, 2.0, output=np.float64)
    assert y.dtype == np.float64 and y.chunks == x.chunks and y._meta.shape == (0, 0)
    with pytest.raises(AssertionError, match="computed"):
        y.compute(scheduler="synchronous")


def test_suggested_blocks() -> None:
    x = da.zeros((600, 3000, 3000), chunks=(600, 3000, 1), dtype="f4")
    y = convc.correlate1d(x, np.ones(9), axis=2, rechunk="auto")
    sizes = y.chunksize
    assert np.prod(sizes) * 4 <= 160 << 20 and sizes[2] > sizes[1]
    assert convc.dask.suggested_chunks((10, 20), "f8", ((1, 1), (1, 1))) == (10, 20)
    with pytest.raises(ValueError, match="'auto'"):
        convc.sobel(x, rechunk="best")


@pytest.mark.parametrize(
    ("kind", "sentence", "said"),
    [
        (TypeError, "not an array", {"output": np.zeros((4, 4))}),
        (RuntimeError, "mode", {"mode": "mirrored"}),
        (ValueError, "Invalid origin", {"origin": 5}),
        (TypeError, "unexpected keyword argument", {"depth": 2}),
    ],
)
def test_mistakes_are_told_before_anything_runs(
    kind: type[Exception], sentence: str, said: Any
) -> None:
    x = da.zeros((4, 4), chunks=2)
    with pytest.raises(kind, match=sentence):
        convc.correlate(x, np.ones((3, 3)), **said)


def test_unknown_blocks() -> None:
    x = da.arange(9, chunks=3)
    with pytest.raises(ValueError, match="unknown size"):
        convc.gaussian_filter1d(x[x > 4], 1.0)


def test_what_travels_is_small() -> None:
    call = convc.dask._Call(
        "gaussian_filter",
        {"sigma": 2.0},
        ("exact", 1),
        None,
        np.dtype("f4"),
        None,
    )
    assert len(pickle.dumps(call)) < 300


def test_dask_image_takes_ours() -> None:
    ndfilters = pytest.importorskip("dask_image.ndfilters")
    from dask_image.dispatch import _dispatch_ndfilters as dispatch

    before = {
        name: dispatch.__dict__[f"dispatch_{name}"].dispatch(np.ndarray)
        for name in convc.dask._INSTALLED
    }
    x = np.random.default_rng(4).random((50, 60))
    blocks, window = da.from_array(x, chunks=20), np.ones((5, 3)) / 15
    try:
        convc.dask.install()
        assert dispatch.dispatch_convolve(blocks) is convc.convolve
        for ours, theirs in (
            (ndfilters.convolve(blocks, window), scipy.convolve(x, window)),
            (ndfilters.gaussian_filter(blocks, 1.5), scipy.gaussian_filter(x, 1.5)),
            (ndfilters.sobel(blocks), scipy.sobel(x)),
            (ndfilters.laplace(blocks), scipy.laplace(x)),
            (ndfilters.uniform_filter(blocks, 4), scipy.uniform_filter(x, 4)),
        ):
            np.testing.assert_allclose(ours.compute(), theirs, atol=1e-12)
    finally:
        for name, function in before.items():
            dispatch.__dict__[f"dispatch_{name}"].register(np.ndarray, function)


def test_xarray() -> None:
    xarray = pytest.importorskip("xarray")
    x = np.random.default_rng(5).random((30, 40))
    for data in (x, da.from_array(x, chunks=10)):
        field = xarray.DataArray(data, dims=("y", "x"))
        made = xarray.apply_ufunc(
            convc.gaussian_filter, field, kwargs={"sigma": 2.0}, dask="allowed"
        )
        assert made.dims == ("y", "x") and isinstance(made.data, type(data))
        np.testing.assert_allclose(made.values, scipy.gaussian_filter(x, 2.0), rtol=1e-12)
