"""`torch.nn.functional`'s pools, on NumPy arrays and on anything with ``__dlpack__``.

Shapes, arguments and results are PyTorch's, but for two things: a maximum leaves NaN out, and whole
numbers of 8 and 16 bits and int32 have maxima too.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from ._arrays import DTYPES, Array, as_array, as_given, check_threads
from ._compile import Compiled, compile
from .functional import Axes, numbers

__all__ = ["avg_pool1d", "avg_pool2d", "avg_pool3d", "max_pool1d", "max_pool2d", "max_pool3d"]


@lru_cache(maxsize=256)
def _compiled(text: str, threads: int) -> Compiled:
    return compile(text, threads=threads)


def _pooled(
    head: str,
    rank: int,
    input: Any,
    said: dict[str, Any],
    flags: dict[str, bool],
    out: Array | None,
    threads: int,
) -> Array:
    x = as_array(input)
    if x.ndim not in (rank + 1, rank + 2):
        raise ValueError(
            f"input has {x.ndim} axes, but {head} takes {rank + 2}, or {rank + 1} without a batch"
        )
    if x.dtype.name not in DTYPES or not x.dtype.isnative:
        raise TypeError(f"input holds {x.dtype}, but must hold one of {', '.join(DTYPES)}")
    batched = x if x.ndim == rank + 2 else x[None]
    if said["stride"] is None:
        said["stride"] = said["kernel_size"]
    words = {name: numbers(name, value, rank) for name, value in said.items()}
    clauses = {
        "kernel": "kernel_size",
        "stride": "stride",
        "pad": "padding",
        "dilation": "dilation",
    }
    listed = (
        f"{clause} {','.join(map(str, words[name]))}"
        for clause, name in clauses.items()
        if name in words
    )
    flagged = (flag for flag, is_set in flags.items() if is_set)
    sizes = "x".join(map(str, batched.shape[2:]))
    text = " ".join(
        [
            f"{head} {DTYPES[x.dtype.name]} n{batched.shape[0]} ic{batched.shape[1]} in {sizes}",
            *listed,
            *flagged,
        ]
    )
    pool = _compiled(text, check_threads(threads))
    if x.ndim == rank + 2:
        return as_given(pool(x, out=out), input)
    if out is None:
        return as_given(pool(batched)[0], input)
    pool(batched, out=out[None])
    return out


def max_pool1d(
    input: Any,
    kernel_size: Axes,
    stride: Axes | None = None,
    padding: Axes = 0,
    dilation: Axes = 1,
    ceil_mode: bool = False,
    *,
    out: Array | None = None,
    threads: int = 1,
) -> Array:
    """Greatest elements under a window of 1 axis; see `max_pool2d`."""
    said = {
        "kernel_size": kernel_size,
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
    }
    return _pooled("maxpool1d", 1, input, said, {"ceil_mode": ceil_mode}, out, threads)


def max_pool2d(
    input: Any,
    kernel_size: Axes,
    stride: Axes | None = None,
    padding: Axes = 0,
    dilation: Axes = 1,
    ceil_mode: bool = False,
    *,
    out: Array | None = None,
    threads: int = 1,
) -> Array:
    """Greatest elements under a window of 2 axes, as ``torch.nn.functional.max_pool2d`` finds them.

    Parameters
    ----------
    input : array_like
        ``(N, C, H, W)`` or, without a batch, ``(C, H, W)``.
    kernel_size, stride, padding, dilation : int or sequence of int
        One for all axes or one for each. The stride is the window's size unless said; what lies in
        the padding never wins.
    ceil_mode : bool
        Whether a window that begins inside and ends outside gives an output.
    out : ndarray, optional
        Where the result goes.
    threads : int
        The most threads of the call.

    Returns
    -------
    ndarray
        ``(N, C, H_out, W_out)`` of the type of `input`.

    Raises
    ------
    ValueError
        Shapes or numbers do not fit; the sentence says which.
    TypeError
        A type is not taken, or a number is not whole.

    Examples
    --------
    >>> import numpy as np, convc
    >>> convc.max_pool2d(np.arange(16.0).reshape(1, 4, 4), 2)
    array([[[ 5.,  7.],
            [13., 15.]]])
    """
    said = {
        "kernel_size": kernel_size,
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
    }
    return _pooled("maxpool2d", 2, input, said, {"ceil_mode": ceil_mode}, out, threads)


def max_pool3d(
    input: Any,
    kernel_size: Axes,
    stride: Axes | None = None,
    padding: Axes = 0,
    dilation: Axes = 1,
    ceil_mode: bool = False,
    *,
    out: Array | None = None,
    threads: int = 1,
) -> Array:
    """Greatest elements under a window of 3 axes; see `max_pool2d`."""
    said = {
        "kernel_size": kernel_size,
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
    }
    return _pooled("maxpool3d", 3, input, said, {"ceil_mode": ceil_mode}, out, threads)


def avg_pool1d(
    input: Any,
    kernel_size: Axes,
    stride: Axes | None = None,
    padding: Axes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    *,
    out: Array | None = None,
    threads: int = 1,
) -> Array:
    """Means under a window of 1 axis; see `avg_pool2d`."""
    said = {"kernel_size": kernel_size, "stride": stride, "padding": padding}
    flags = {"ceil_mode": ceil_mode, "count_include_pad": count_include_pad}
    return _pooled("avgpool1d", 1, input, said, flags, out, threads)


def avg_pool2d(
    input: Any,
    kernel_size: Axes,
    stride: Axes | None = None,
    padding: Axes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    *,
    out: Array | None = None,
    threads: int = 1,
) -> Array:
    """Means under a window of 2 axes, as ``torch.nn.functional.avg_pool2d`` computes them.

    Parameters
    ----------
    input, kernel_size, stride, padding, ceil_mode, out, threads
        As for `max_pool2d`; arrays are of floats.
    count_include_pad : bool
        Whether zeros in the padding count.

    Returns
    -------
    ndarray
        ``(N, C, H_out, W_out)`` of the type of `input`.

    Examples
    --------
    >>> import numpy as np, convc
    >>> convc.avg_pool2d(np.arange(16.0).reshape(1, 4, 4), 2)
    array([[[ 2.5,  4.5],
            [10.5, 12.5]]])
    """
    said = {"kernel_size": kernel_size, "stride": stride, "padding": padding}
    flags = {"ceil_mode": ceil_mode, "count_include_pad": count_include_pad}
    return _pooled("avgpool2d", 2, input, said, flags, out, threads)


def avg_pool3d(
    input: Any,
    kernel_size: Axes,
    stride: Axes | None = None,
    padding: Axes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    *,
    out: Array | None = None,
    threads: int = 1,
) -> Array:
    """Means under a window of 3 axes; see `avg_pool2d`."""
    said = {"kernel_size": kernel_size, "stride": stride, "padding": padding}
    flags = {"ceil_mode": ceil_mode, "count_include_pad": count_include_pad}
    return _pooled("avgpool3d", 3, input, said, flags, out, threads)
