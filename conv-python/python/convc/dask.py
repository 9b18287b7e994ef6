"""The filters on dask arrays: arrays that no machine holds, block by block.

Each block is read with as many elements of its neighbours as its outputs see, and gives its outputs
alone. The mode holds at the border of the array; ``wrap`` reads the blocks at the other end. The
result has the bits of the filter of the whole array, however it is cut into blocks, unless another
accuracy is asked for than the exact one.

`run` does the same with a compiled program, of any strides and steps.

Nothing is computed before dask is asked to. What travels to a worker is the call; code is made once
in each process and kept there.

>>> import dask.array as da, convc
>>> x = da.ones((1000, 1000), chunks=400, dtype="f4")
>>> convc.gaussian_filter(x, sigma=3.0).chunks
((400, 400, 200), (400, 400, 200))
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import isnan, prod
from typing import Any

import numpy as np
from dask.array.overlap import overlap

from . import _terms, ndimage
from ._apply import applied
from ._blocks import run
from ._filter import Pass, halo
from ._scipy import output_of

__all__ = [*ndimage.__all__, "install", "run", "suggested_chunks"]

#: Bytes of a block that are suggested: some of them, with what is made of each, fit a worker, and
#: its halo is little beside it.
_BLOCK = 64 << 20

#: Arguments of a filter that say how it is computed, and not what.
_HOW = ("threads", "accuracy", "nan")

#: How far a filter sees follows from its terms.
_TERMS: dict[str, Callable[..., _terms.Terms]] = {
    "convolve": partial(_terms.window_terms, flip=True),
    "convolve1d": partial(_terms.line_terms, flip=True),
    "correlate": _terms.window_terms,
    "correlate1d": _terms.line_terms,
    "gaussian_filter": _terms.gaussian_terms,
    "gaussian_filter1d": _terms.gaussian1d_terms,
    "gaussian_laplace": _terms.gaussian_laplace_terms,
    "laplace": _terms.laplace_terms,
    "prewitt": partial(_terms.gradient_terms, across=(1, 1, 1)),
    "sobel": partial(_terms.gradient_terms, across=(1, 2, 1)),
    "uniform_filter": _terms.uniform_terms,
    "uniform_filter1d": _terms.uniform1d_terms,
}


def suggested_chunks(
    shape: Sequence[int], dtype: Any, depth: Sequence[tuple[int, int]], block: int = _BLOCK
) -> tuple[int, ...]:
    """Chunks for a filter that sees `depth` elements before and behind, for each axis.

    Blocks have about `block` bytes. Axes that are seen across are cut as little as the others
    allow, because what is read twice there is: a cube has the least surface, so extents are those
    of a cube, stretched along axes of deeper halos and cut to the array.

    >>> suggested_chunks((4000, 4000, 4000), "f4", ((2, 2), (2, 2), (2, 2)))
    (256, 256, 256)
    """
    elements = max(block // np.dtype(dtype).itemsize, 1)
    weights = [1 + before + behind for before, behind in depth]
    chunks = list(shape)
    free = sorted(range(len(shape)), key=lambda axis: shape[axis] / weights[axis])
    for at, axis in enumerate(free):
        left = free[at:]
        # The scale at which the axes that are left have as many elements as there may be.
        product = prod(weights[a] for a in left)
        scale = (elements / product) ** (1 / len(left))
        chunks[axis] = min(shape[axis], max(round(scale * weights[axis]), 1))
        elements = max(elements // max(chunks[axis], 1), 1)
    return tuple(chunks)


@dataclass(frozen=True)
class _Call:
    """A call without its input: what travels to a worker."""

    name: str
    said: dict[str, Any] = field(hash=False)
    how: tuple[str, int]
    nan: str | None
    dtype: np.dtype[Any]
    #: Of each axis: how many blocks there are; 0 where blocks at both ends are neighbours.
    blocks: tuple[int, ...]
    #: Elements that come with a block before and behind, and are not seen.
    unseen: tuple[tuple[int, int], ...]

    def __call__(self, x: Any, block_id: tuple[int, ...] = ()) -> Any:
        cut = tuple(slice(n[0], size - n[1]) for n, size in zip(self.unseen, x.shape))
        places = zip(block_id, self.blocks)
        goes_on = tuple((at > 0 or not count, at + 1 != count) for at, count in places)
        output = None if self.dtype == x.dtype else self.dtype
        how = (*self.how, goes_on)
        return applied(x[cut], _TERMS[self.name], (), output, self.nan, how, **self.said)


def _on_blocks(name: str) -> Callable[..., Any]:
    """The filter of every block with its neighbours' elements."""
    function = getattr(ndimage, name)
    signature = inspect.signature(function)

    def filtered(input: Any, *args: Any, rechunk: str | None = None, **kwargs: Any) -> Any:
        bound = signature.bind(input, *args, **kwargs)
        bound.apply_defaults()
        said = dict(bound.arguments)
        said.update(said.pop("said", {}))
        return _mapped(name, said.pop("input"), said, rechunk)

    filtered.__name__ = filtered.__qualname__ = name
    filtered.__doc__ = f"""`convc.{name}` of a dask array, block by block.

    Takes what `convc.{name}` takes, but no array as ``output``, and ``rechunk="auto"``, which cuts
    the array into the blocks that `suggested_chunks` gives. Returns a dask array.
    """
    return filtered


def _mapped(name: str, x: Any, said: dict[str, Any], rechunk: str | None) -> Any:
    output = said.pop("output", None)
    if not (output is None or isinstance(output, (type, np.dtype, str))):
        raise TypeError("output: a dask array is made, so it is a type, not an array")
    if rechunk not in (None, "auto"):
        raise ValueError(f"rechunk: found {rechunk!r}, expected None or 'auto'")
    if any(isnan(size) for sizes in x.chunks for size in sizes):
        raise ValueError("a block has an unknown size: call compute_chunk_sizes() first")
    what = {word: value for word, value in said.items() if word not in _HOW}
    terms = _TERMS[name](x.ndim, **what)
    steps = [step for passes in terms for step in passes]
    is_complex = x.dtype.kind == "c" or any(np.iscomplexobj(step.weights) for step in steps)
    empty = np.empty((0,) * x.ndim, x.dtype)
    meta = output_of(output, empty, is_complex, empty.shape)
    depth = halo(terms, x.ndim)
    if rechunk == "auto":
        x = x.rechunk(suggested_chunks(x.shape, x.dtype, depth))
    x, depths, boundary = _overlap(x, depth, steps)
    wraps = [boundary[axis] == "periodic" for axis in range(x.ndim)]
    call = _Call(
        name,
        what,
        (said.get("accuracy", "exact"), said.get("threads", 1)),
        said.get("nan"),
        meta.dtype,
        tuple(0 if wrap else len(sizes) for wrap, sizes in zip(wraps, x.chunks)),
        tuple(_unseen(seen) if wrap else (0, 0) for wrap, seen in zip(wraps, depth)),
    )
    blocks = x
    if any(depths.values()):
        blocks = overlap(  # type: ignore[no-untyped-call]
            x, depth=depths, boundary=boundary, allow_rechunk=False
        )
    return blocks.map_blocks(call, chunks=x.chunks, dtype=meta.dtype, meta=meta)


def _unseen(seen: tuple[int, int]) -> tuple[int, int]:
    """Elements beyond the halo where both sides are as deep."""
    return max(seen) - seen[0], max(seen) - seen[1]


def _overlap(
    x: Any, depth: Sequence[tuple[int, int]], steps: Sequence[Pass]
) -> tuple[Any, dict[int, Any], dict[int, str]]:
    """The array with blocks that are no smaller than what their neighbours read of them, and how
    deep they overlap. An axis of one block is whole: its mode holds, and nothing overlaps."""
    depths: dict[int, Any] = {}
    boundary: dict[int, str] = {}
    chunks = list(x.chunks)
    for axis, (before, behind) in enumerate(depth):
        modes = {step.mode for step in steps if any(step.pads[axis])}
        wraps = "circular" in modes
        least = max(before, behind)
        # A mirror that does not repeat the edge reads one element more. What lies beyond an end for
        # one term and at the other end for another cannot come with a block.
        whole = x.shape[axis] if wraps and len(modes) > 1 else 0
        chunks[axis] = _no_smaller(x.chunks[axis], max(least + int("reflect" in modes), whole))
        boundary[axis] = "none"
        if len(chunks[axis]) == 1 or least == 0:
            depths[axis] = 0
        elif wraps:
            depths[axis], boundary[axis] = least, "periodic"
        else:
            depths[axis] = least if before == behind else (before, behind)
    return x.rechunk(tuple(chunks)), depths, boundary


def _no_smaller(chunks: tuple[int, ...], least: int) -> tuple[int, ...]:
    """Neighbours together until none is smaller.

    >>> _no_smaller((3, 1, 1, 4, 1), 2)
    (3, 2, 5)
    """
    made: list[int] = []
    held = 0
    for size in chunks:
        held += size
        if held >= max(least, 1):
            made.append(held)
            held = 0
    if held or not made:
        made[-1:] = [held + sum(made[-1:])]
    return tuple(made)


convolve = _on_blocks("convolve")
convolve1d = _on_blocks("convolve1d")
correlate = _on_blocks("correlate")
correlate1d = _on_blocks("correlate1d")
gaussian_filter = _on_blocks("gaussian_filter")
gaussian_filter1d = _on_blocks("gaussian_filter1d")
gaussian_laplace = _on_blocks("gaussian_laplace")
laplace = _on_blocks("laplace")
prewitt = _on_blocks("prewitt")
sobel = _on_blocks("sobel")
uniform_filter = _on_blocks("uniform_filter")
uniform_filter1d = _on_blocks("uniform_filter1d")

#: Filters of dask-image that `install` replaces.
_INSTALLED = (
    "convolve",
    "correlate",
    "gaussian_filter",
    "gaussian_laplace",
    "laplace",
    "prewitt",
    "sobel",
    "uniform_filter",
)


def install() -> None:
    """Have `dask_image.ndfilters` call `convc` where it calls SciPy, for blocks of NumPy arrays.

    For the process that builds graphs; workers need `convc` to be there, and no call of this.
    """
    from dask_image.dispatch import _dispatch_ndfilters as dispatch

    for name in _INSTALLED:
        function = getattr(ndimage, name)
        dispatcher = getattr(dispatch, f"dispatch_{name}")
        dispatcher.register(np.ndarray, lambda *args, _function=function, **said: _function)
