"""`torch.nn.functional`'s pools, on NumPy arrays and on anything with ``__dlpack__``.

Shapes, arguments and results are PyTorch's, but for two things: a maximum leaves NaN out, and whole
numbers of 8 and 16 bits and int32 have maxima too.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from ._arrays import DTYPES, Array, as_array, as_given, to_write
from ._compile import Compiled, compile
from .functional import Axes, numbers

__all__ = ["avg_pool1d", "avg_pool2d", "avg_pool3d", "max_pool1d", "max_pool2d", "max_pool3d"]

#: Words of `compile` whose value is a number for each axis.
_PER_AXIS = ("kernel_size", "stride", "padding", "dilation")


@lru_cache(maxsize=256)
def _compiled(head: str, threads: int, said: tuple[tuple[str, Any], ...]) -> Compiled:
    return compile(head, threads=threads, **dict(said))


def _pooled(
    kind: str, rank: int, input: Any, out: Array | None, threads: int, **said: Any
) -> Array:
    head, x = f"{kind}{rank}d", as_array(input)
    if x.ndim not in (rank + 1, rank + 2):
        raise ValueError(
            f"input has {x.ndim} axes, but {head} takes {rank + 2}, or {rank + 1} without a batch"
        )
    if x.dtype.name not in DTYPES or not x.dtype.isnative:
        raise TypeError(f"input holds {x.dtype}, but must hold one of {', '.join(DTYPES)}")
    if said["stride"] is None:
        said["stride"] = said["kernel_size"]
    said.update((name, numbers(name, said[name], rank)) for name in _PER_AXIS if name in said)
    batched = x if x.ndim == rank + 2 else x[None]
    batch, channels, *sizes = batched.shape
    said.update(batch=batch, in_channels=channels, input=tuple(sizes), dtype=x.dtype.name)
    said["kernel"] = said.pop("kernel_size")
    pool = _compiled(head, threads, tuple(said.items()))
    if batched is x:
        return as_given(pool(x, out=out), input)
    if out is None:
        return as_given(pool(batched)[0], input)
    pool(batched, out=to_write(out)[None])
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
    """Greatest elements under a window of 1 axis, of ``(N, C, L)`` or ``(C, L)``.

    Parameters
    ----------
    input, kernel_size, stride, padding, dilation, ceil_mode, out, threads
        As for `max_pool2d`.
    """
    return _pooled(
        "maxpool",
        1,
        input,
        out,
        threads,
        kernel_size=kernel_size,
        stride=stride,
        padding=padding,
        dilation=dilation,
        ceil_mode=ceil_mode,
    )


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
    return _pooled(
        "maxpool",
        2,
        input,
        out,
        threads,
        kernel_size=kernel_size,
        stride=stride,
        padding=padding,
        dilation=dilation,
        ceil_mode=ceil_mode,
    )


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
    """Greatest elements under a window of 3 axes, of ``(N, C, D, H, W)`` or ``(C, D, H, W)``.

    Parameters
    ----------
    input, kernel_size, stride, padding, dilation, ceil_mode, out, threads
        As for `max_pool2d`.
    """
    return _pooled(
        "maxpool",
        3,
        input,
        out,
        threads,
        kernel_size=kernel_size,
        stride=stride,
        padding=padding,
        dilation=dilation,
        ceil_mode=ceil_mode,
    )


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
    """Means under a window of 1 axis, of ``(N, C, L)`` or ``(C, L)``.

    Parameters
    ----------
    input, kernel_size, stride, padding, ceil_mode, count_include_pad, out, threads
        As for `avg_pool2d`.
    """
    return _pooled(
        "avgpool",
        1,
        input,
        out,
        threads,
        kernel_size=kernel_size,
        stride=stride,
        padding=padding,
        ceil_mode=ceil_mode,
        count_include_pad=count_include_pad,
    )


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
    return _pooled(
        "avgpool",
        2,
        input,
        out,
        threads,
        kernel_size=kernel_size,
        stride=stride,
        padding=padding,
        ceil_mode=ceil_mode,
        count_include_pad=count_include_pad,
    )


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
    """Means under a window of 3 axes, of ``(N, C, D, H, W)`` or ``(C, D, H, W)``.

    Parameters
    ----------
    input, kernel_size, stride, padding, ceil_mode, count_include_pad, out, threads
        As for `avg_pool2d`.
    """
    return _pooled(
        "avgpool",
        3,
        input,
        out,
        threads,
        kernel_size=kernel_size,
        stride=stride,
        padding=padding,
        ceil_mode=ceil_mode,
        count_include_pad=count_include_pad,
    )
