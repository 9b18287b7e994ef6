"""A compiled program on a dask array, a block of outputs at a time."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import dask.array as da
import numpy as np

from ._compile import Compiled

Range = tuple[int, int]


@lru_cache(maxsize=64)
def _compiled(text: str, threads: int, accuracy: str) -> Compiled:
    """Code without known weights, made once in each process."""
    return Compiled(text, [], threads, accuracy)


@dataclass(frozen=True)
class _Block:
    """What travels to a worker: the description of a block, and the weights."""

    text: str
    said: tuple[int, str]
    known: Any = field(hash=False)
    weights: tuple[Any, ...] = field(hash=False)

    def __call__(self, x: Any) -> Any:
        if self.known:
            compiled = Compiled(self.text, self.known, *self.said)
        else:
            compiled = _compiled(self.text, *self.said)
        return compiled(x, *self.weights)


def run(compiled: Compiled, x: Any, *weights: Any, chunks: Sequence[int] | None = None) -> Any:
    """A compiled program, with strides and in several steps, on a dask array.

    Each block of the output is a program of its own, whose inputs follow from the windows: an inner
    block has no padding, one at the edge the program's. The result has the bits of the whole.

    Parameters
    ----------
    compiled : Compiled
        For the whole array: ``convc.compile("conv2d in 40000 kernel 3 stride 2 pad 1")``. Sizes are
        numbers and the layout has the channels first. Transposed steps, residuals and ceil_mode are
        refused.
    x : dask.array.Array
        Of shape ``compiled.input_shape`` and type ``compiled.dtype``.
    *weights : array_like
        As for ``compiled.pack``.
    chunks : sequence of int, optional
        Sizes of the output's blocks along the batch and the spatial axes. As the input's unless
        said, scaled.

    Returns
    -------
    dask.array.Array
        Of shape ``compiled.output_shape``.

    Raises
    ------
    ValueError
        The program cannot be cut into blocks, or not into these.

    Examples
    --------
    >>> import dask.array as da, numpy as np, convc, convc.dask
    >>> c = convc.compile("conv2d in 100 kernel 3 stride 2 pad 1, relu; conv2d oc2 kernel 3")
    >>> x = da.ones((1, 1, 100, 100), chunks=(1, 1, 50, 50), dtype="f4")
    >>> w = [np.ones((1, 1, 3, 3), "f4"), np.ones((2, 1, 3, 3), "f4")]
    >>> convc.dask.run(c, x, *w).chunks
    ((1,), (2,), (24, 24), (24, 24))
    """
    if compiled.output_shape is None:
        raise ValueError("sizes of a program that is cut into blocks are numbers, not names")
    if x.shape != compiled.input_shape or x.dtype != compiled.dtype:
        raise ValueError(
            f"x is {x.dtype} of shape {x.shape}, but the program takes {compiled.dtype} of shape "
            f"{compiled.input_shape}"
        )
    if compiled._native.is_channels_last():
        raise ValueError("a program that is cut into blocks has its channels first")
    # Mistakes in the weights are told now.
    compiled.pack(*weights)
    shape = compiled.output_shape
    axes = [0, *range(2, len(shape))]
    if chunks is None:
        cuts = [_scaled(x.chunks[axis], shape[axis]) for axis in axes]
    else:
        cuts = [_sizes(shape[axis], size) for axis, size in zip(axes, chunks, strict=True)]
    blocks = np.empty([len(sizes) for sizes in cuts], object)
    for at in itertools.product(*(range(len(sizes)) for sizes in cuts)):
        ranges = [_range(sizes, place) for sizes, place in zip(cuts, at)]
        blocks[at] = _block(compiled, x, weights, ranges)
    return da.block(_nested(blocks[:, None]))  # type: ignore[no-untyped-call]


def _block(compiled: Compiled, x: Any, weights: Any, ranges: Sequence[Range]) -> Any:
    batch, *outputs = ranges
    inputs, text = compiled._native.block(batch[1] - batch[0], outputs)
    cut = (slice(*batch), slice(None), *(slice(*needed) for needed in inputs))
    call = _Block(text, compiled._said, compiled._known, weights)
    shape = (compiled.output_shape or ())[1:2]
    sizes = [batch[1] - batch[0], *shape, *(stop - start for start, stop in outputs)]
    return (
        x[cut]
        .rechunk(-1)
        .map_blocks(
            call,
            dtype=compiled.output_dtype,
            chunks=tuple((size,) for size in sizes),
            meta=np.empty((0,) * x.ndim, compiled.output_dtype),
        )
    )


def _nested(blocks: Any) -> Any:
    """Lists of lists, as `dask.array.block` takes them."""
    return [_nested(part) for part in blocks] if isinstance(blocks, np.ndarray) else blocks


def _range(sizes: Sequence[int], place: int) -> Range:
    start = sum(sizes[:place])
    return start, start + sizes[place]


def _sizes(extent: int, size: int) -> tuple[int, ...]:
    """An extent cut into pieces of a size.

    >>> _sizes(10, 4)
    (4, 4, 2)
    """
    if size < 1:
        raise ValueError(f"chunks: {size}, but must be at least 1")
    whole, rest = divmod(extent, size)
    return (size,) * whole + ((rest,) if rest else ())


def _scaled(chunks: Sequence[int], extent: int) -> tuple[int, ...]:
    """The input's chunks as those of an output of this extent.

    >>> _scaled((50, 50, 1), 51)
    (25, 25, 1)
    """
    total = sum(chunks)
    ends = {round(end * extent / total) for end in itertools.accumulate(chunks)}
    cuts = sorted(ends - {0})
    return tuple(b - a for a, b in itertools.pairwise([0, *cuts])) or (extent,)
