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
import itertools
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import isnan, prod
from typing import Any

import dask.array as da
import numpy as np
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph

from . import _terms, ndimage
from ._apply import applied
from ._blocks import run
from ._border import fill_border, room
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
    #: What a border reads that comes with a block, as if the array went on; else it is the code's.
    border: tuple[str, Any] | None

    def of(self, x: Any, goes_on: tuple[tuple[bool, bool], ...]) -> Any:
        output = None if self.dtype == x.dtype else self.dtype
        how = (*self.how, goes_on)
        return applied(x, _TERMS[self.name], (), output, self.nan, how, **self.said)


@dataclass(frozen=True)
class _Place:
    """The call of a block, and how what it sees lies around it."""

    call: _Call
    #: Of each axis: what is seen before and behind, and whether the array goes on there.
    seen: tuple[tuple[int, int], ...]
    goes_on: tuple[tuple[bool, bool], ...]
    #: Of each piece: on which side of the block it lies, -1, 0 or 1 for each axis.
    sides: tuple[tuple[int, ...], ...]

    def __call__(self, *pieces: Any) -> Any:
        block = pieces[0]
        border = self.call.border
        margins = [
            (seen[0] * (on[0] or border is not None), seen[1] * (on[1] or border is not None))
            for seen, on in zip(self.seen, self.goes_on)
        ]
        if not any(map(any, margins)):
            return self.call.of(block, self.goes_on)
        x = room([n + sum(m) for n, m in zip(block.shape, margins)], block.dtype)
        for sides, piece in zip(self.sides, pieces):
            starts = [m[0] + (0, n, -m[0])[side] for m, n, side in zip(margins, block.shape, sides)]
            x[tuple(slice(s, s + n) for s, n in zip(starts, piece.shape))] = piece
        if border is None:
            return self.call.of(x, self.goes_on)
        outer = [(m[0] * (not on[0]), m[1] * (not on[1])) for m, on in zip(margins, self.goes_on)]
        fill_border(x, outer, *border)
        return self.call.of(x, ((True, True),) * x.ndim)


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
    x, seen, wraps = _overlap(x, depth, steps)
    how = (said.get("accuracy", "exact"), said.get("threads", 1))
    border = _border(terms, x.dtype) if said.get("nan") is None else None
    call = _Call(name, what, how, said.get("nan"), meta.dtype, border)
    return _placed(call, x, seen, wraps, depth, meta)


def _placed(
    call: _Call,
    x: Any,
    seen: Sequence[tuple[int, int]],
    wraps: Sequence[bool],
    depth: Sequence[tuple[int, int]],
    meta: Any,
) -> Any:
    """The array whose blocks are the call's, each of a block with what it sees of its
    neighbours."""
    token = tokenize(call, x.name, seen)
    name, pieces = f"convc-{call.name}-{token}", f"seen-{token}"
    tasks: dict[Any, Any] = {}
    for at in itertools.product(*map(range, x.numblocks)):
        keys: list[Any] = []
        sides = []
        for side in itertools.product(*((0, -1, 1) if any(s) else (0,) for s in seen)):
            piece = _piece(x.chunks, at, side, seen, wraps)
            if piece is None:
                continue
            near, cut = piece
            key: Any = (x.name, *near)
            if any(side):
                tasks[(pieces, *at, len(keys))] = (operator.getitem, key, cut)
                key = (pieces, *at, len(keys))
            keys.append(key)
            sides.append(side)
        goes_on = tuple(
            (bool(any(s)) and (wrap or n > 0), bool(any(s)) and (wrap or n + 1 < count))
            for s, wrap, n, count in zip(seen, wraps, at, x.numblocks)
        )
        place = _Place(call, tuple(depth), goes_on, tuple(sides))
        tasks[(name, *at)] = (place, *keys)
    graph = HighLevelGraph.from_collections(name, tasks, dependencies=[x])
    return da.Array(graph, name, x.chunks, meta=meta)  # type: ignore[no-untyped-call]


def _piece(
    chunks: Sequence[Sequence[int]],
    at: Sequence[int],
    side: Sequence[int],
    seen: Sequence[tuple[int, int]],
    wraps: Sequence[bool],
) -> tuple[tuple[int, ...], tuple[slice, ...]] | None:
    """The block on a side of another one, and what of it is seen; none where there is none."""
    near, cut = [], []
    for sizes, n, where, (before, behind), wrap in zip(chunks, at, side, seen, wraps):
        other = n + where
        if wrap:
            other %= len(sizes)
        elif not 0 <= other < len(sizes):
            return None
        depth = (0, behind, before)[where]
        if where and not depth:
            return None
        near.append(other)
        cut.append((slice(None), slice(0, depth), slice(sizes[other] - depth, None))[where])
    return tuple(near), tuple(cut)


def _border(terms: _terms.Terms, dtype: np.dtype[Any]) -> tuple[str, Any] | None:
    """What comes with a block in the place of a border: of one pass, so that all blocks have the
    same code. None where the array's type cannot hold it."""
    if len(terms) != 1 or len(terms[0]) != 1:
        return None
    step = terms[0][0]
    if step.mode == "constant":
        with np.errstate(all="ignore"):
            held = step.cval == 0 or np.asarray(step.cval).astype(dtype) == step.cval
        return (step.mode, step.cval) if held else None
    return step.mode, None


def _overlap(
    x: Any, depth: Sequence[tuple[int, int]], steps: Sequence[Pass]
) -> tuple[Any, list[tuple[int, int]], list[bool]]:
    """The array with blocks that are no smaller than what their neighbours read of them, how far
    each sees into those, and whether the blocks at both ends are neighbours. An axis of one block
    is whole: its mode holds, and there are no neighbours."""
    seen: list[tuple[int, int]] = []
    wraps: list[bool] = []
    chunks = list(x.chunks)
    for axis, (before, behind) in enumerate(depth):
        modes = {step.mode for step in steps if any(step.pads[axis])}
        is_wrap = "circular" in modes
        least = max(before, behind)
        # A mirror that does not repeat the edge reads one element more. What lies beyond an end for
        # one term and at the other end for another cannot come with a block.
        whole = x.shape[axis] if is_wrap and len(modes) > 1 else 0
        chunks[axis] = _no_smaller(x.chunks[axis], max(least + int("reflect" in modes), whole))
        is_cut = len(chunks[axis]) > 1 and least > 0
        seen.append((before, behind) if is_cut else (0, 0))
        wraps.append(is_cut and is_wrap)
    return x.rechunk(tuple(chunks)), seen, wraps


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
