"""`torch.nn.functional`'s convolutions, on NumPy arrays and on anything with ``__dlpack__``.

Shapes, arguments and results are PyTorch's. Arrays are float32, float64 or float16, all of one
type; a torch or jax array on the CPU is read where it is, and the result of one is one, without a
copy. Code is made when a shape comes first and kept for the last 256 of them.

Input and weight may also be of whole numbers of 8 and 16 bits and int32, each of a type of its own.
Then bias and result are int32, and sums are modulo 2^32. PyTorch takes int64 alone there, which is
refused here.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from . import _native
from ._arrays import (
    DTYPES,
    Array,
    aligned,
    as_array,
    as_given,
    by_rows,
    check_out,
    check_shape,
    check_threads,
    held,
    needs_room,
    to_write,
)

__all__ = [
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
]

#: One number for all axes, or one for each.
Axes = int | Sequence[int]

#: Types of input and weight, and the compiler's words.
_DTYPES = {np.dtype(name): word for name, word in DTYPES.items() if name != "bfloat16"}


@lru_cache(maxsize=256)
def _program(
    rank: int,
    dtype: str,
    x: tuple[int, ...],
    weight: tuple[int, ...],
    bias: bool,
    said: tuple[tuple[str, Any], ...],
    threads: int,
) -> tuple[_native.Program, tuple[int, ...]]:
    words = dict(said)
    groups, transposed = words.pop("g"), words.pop("transposed")
    out_channels = weight[1] * groups if transposed else weight[0]
    head = f"conv{rank}d" + ("-transposed" if transposed else "")
    listed = {word: _listed(value) for word, value in words.items()}
    clauses = " ".join(f"{word} {value}" for word, value in listed.items())
    text = (
        f"{head} {dtype} n{x[0]} g{groups} ic{x[1]} oc{out_channels} in {_sizes(x[2:])} "
        f"kernel {_sizes(weight[2:])} {clauses}" + (" + bias" if bias else "")
    )
    program = _native.Program(text, [], threads, "exact")
    needed = tuple(program.steps()[0][0])
    check_shape("weight", weight, needed)
    return program, tuple(program.shapes([])[1])


def _sizes(sizes: Sequence[int]) -> str:
    return "x".join(map(str, sizes))


def _listed(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def numbers(name: str, value: Any, rank: int) -> tuple[int, ...]:
    """One whole number for each axis."""
    if np.ndim(value) == 0:
        return (_whole(name, value),) * rank
    values = tuple(_whole(name, v) for v in value)
    if len(values) == 1:
        return values * rank
    if len(values) != rank:
        raise ValueError(f"{name} has {len(values)} numbers, but there are {rank} spatial axes")
    return values


def _whole(name: str, value: Any) -> int:
    """A whole number that a convolution can have there."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: found {value!r}, expected whole numbers") from None
    least = 0 if "padding" in name else 1
    if number < least:
        raise ValueError(f"{name} is {number}, but must be at least {least}")
    return number


def _padding(value: Any, rank: int) -> Any:
    if not isinstance(value, str):
        return numbers("padding", value, rank)
    if value not in ("same", "valid"):
        raise ValueError(f"padding: found {value!r}, expected numbers, 'same' or 'valid'")
    return {"same": "same-upper", "valid": "valid"}[value]


def _array(name: str, x: Any) -> Array:
    x = as_array(x)
    if x.dtype not in _DTYPES:
        types = ", ".join(dtype.name for dtype in _DTYPES)
        order = "" if x.dtype.isnative else ", in this machine's byte order"
        raise TypeError(f"{name} holds {x.dtype}, but must hold one of {types}{order}")
    return aligned(x)


def _types(x: Array, weight: Array, bias: Array | None) -> tuple[str, np.dtype[Any]]:
    """The compiler's words for the types, and the result's. Whole numbers come together, with a
    bias of int32; all else is of one type."""
    dtype, words = x.dtype, _DTYPES[x.dtype]
    if dtype.kind in "iu" and weight.dtype.kind in "iu":
        dtype = np.dtype(np.int32)
        words = f"{words} x {_DTYPES[weight.dtype]}"
    elif weight.dtype != dtype:
        raise TypeError(f"weight holds {weight.dtype}, but input holds {dtype}")
    if bias is not None and bias.dtype != dtype:
        of = "input holds" if dtype == x.dtype else "sums are of"
        raise TypeError(f"bias holds {bias.dtype}, but {of} {dtype}")
    return words, dtype


def _run(
    rank: int,
    input: Any,
    weight: Any,
    bias: Any,
    said: dict[str, Any],
    out: Array | None,
    threads: int,
) -> Array:
    x, weight = _array("input", input), by_rows(_array("weight", weight))
    if x.ndim not in (rank + 1, rank + 2):
        raise ValueError(
            f"input has {x.ndim} axes, but conv{rank}d takes {rank + 2}, or {rank + 1} without a "
            f"batch"
        )
    if weight.ndim != rank + 2:
        raise ValueError(f"weight has {weight.ndim} axes, but conv{rank}d takes {rank + 2}")
    bias = None if bias is None else by_rows(_array("bias", bias))
    words, dtype = _types(x, weight, bias)
    is_batch = x.ndim == rank + 2
    batched = x if is_batch else x[None]
    if said["padding"] == "same-upper" and any(v > 1 for v in said["stride"]):
        raise ValueError("padding='same' is for a stride of 1")
    said["pad"] = said.pop("padding")
    how = (bias is not None, tuple(said.items()), check_threads(threads))
    program, shape = _program(rank, words, batched.shape, weight.shape, *how)
    if bias is not None:
        check_shape("bias", bias.shape, (shape[1],))
    packed = program.pack([(held(weight), None if bias is None else held(bias))])
    shape = shape if is_batch else shape[1:]
    if out is None:
        made = np.empty(shape, dtype)
        packed.run(held(batched), held(made if is_batch else made[None]))
        return as_given(made, input)
    to = check_out(to_write(out), shape, dtype)
    room = np.empty(shape, dtype) if needs_room(to, x) else to
    packed.run(held(batched), held(room if is_batch else room[None]))
    if room is not to:
        to[...] = room
    return out


def _forward(rank: int, *args: Any) -> Array:
    input, weight, bias, stride, padding, dilation, groups, out, threads = args
    said = {
        "g": _whole("groups", groups),
        "transposed": False,
        "stride": numbers("stride", stride, rank),
        "padding": _padding(padding, rank),
        "dilation": numbers("dilation", dilation, rank),
    }
    return _run(rank, input, weight, bias, said, out, threads)


def _transposed(rank: int, *args: Any) -> Array:
    input, weight, bias, stride, padding, output_padding, groups, dilation, out, threads = args
    said = {
        "g": _whole("groups", groups),
        "transposed": True,
        "stride": numbers("stride", stride, rank),
        "padding": numbers("padding", padding, rank),
        "out_pad": numbers("output_padding", output_padding, rank),
        "dilation": numbers("dilation", dilation, rank),
    }
    return _run(rank, input, weight, bias, said, out, threads)


def conv1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Axes = 1,
    padding: Axes | str = 0,
    dilation: Axes = 1,
    groups: int = 1,
    *,
    out: Array | None = None,
    threads: int = 1,
) -> Array:
    """Convolve with a window of 1 axis, as ``torch.nn.functional.conv1d`` does.

    Parameters
    ----------
    input : array_like
        ``(N, C, L)`` or, without a batch, ``(C, L)``.
    weight : array_like
        ``(out, C / groups, K)``.
    bias : array_like, optional
        ``(out,)``.
    stride, dilation : int or sequence of int
        One for all axes or one for each.
    padding : int, sequence of int, "same" or "valid"
        Zeros on both sides. ``"same"`` is for a stride of 1.
    groups : int
        Divides both channel counts.
    out : ndarray, optional
        Where the result goes.
    threads : int
        The most threads of the call.

    Returns
    -------
    ndarray
        ``(N, out, L_out)`` of the type of `input`; int32 of whole numbers.

    Raises
    ------
    ValueError
        Shapes or numbers do not fit; the sentence says which.
    TypeError
        An array holds a type that is not taken, or types do not go together.
    """
    return _forward(1, input, weight, bias, stride, padding, dilation, groups, out, threads)


def conv2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Axes = 1,
    padding: Axes | str = 0,
    dilation: Axes = 1,
    groups: int = 1,
    *,
    out: Array | None = None,
    threads: int = 1,
) -> Array:
    """Convolve with a window of 2 axes, as ``torch.nn.functional.conv2d`` does.

    Parameters
    ----------
    input : array_like
        ``(N, C, H, W)`` or, without a batch, ``(C, H, W)``.
    weight : array_like
        ``(out, C / groups, KH, KW)``.
    bias : array_like, optional
        ``(out,)``.
    stride, dilation : int or sequence of int
        One for all axes or one for each.
    padding : int, sequence of int, "same" or "valid"
        Zeros on both sides. ``"same"`` is for a stride of 1.
    groups : int
        Divides both channel counts.
    out : ndarray, optional
        Where the result goes.
    threads : int
        The most threads of the call.

    Returns
    -------
    ndarray
        ``(N, out, H_out, W_out)`` of the type of `input`; int32 of whole numbers.

    Raises
    ------
    ValueError
        Shapes or numbers do not fit; the sentence says which.
    TypeError
        An array holds a type that is not taken, or types do not go together.
    """
    return _forward(2, input, weight, bias, stride, padding, dilation, groups, out, threads)


def conv3d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Axes = 1,
    padding: Axes | str = 0,
    dilation: Axes = 1,
    groups: int = 1,
    *,
    out: Array | None = None,
    threads: int = 1,
) -> Array:
    """Convolve with a window of 3 axes, as ``torch.nn.functional.conv3d`` does.

    Parameters
    ----------
    input : array_like
        ``(N, C, D, H, W)`` or, without a batch, ``(C, D, H, W)``.
    weight : array_like
        ``(out, C / groups, KD, KH, KW)``.
    bias : array_like, optional
        ``(out,)``.
    stride, dilation : int or sequence of int
        One for all axes or one for each.
    padding : int, sequence of int, "same" or "valid"
        Zeros on both sides. ``"same"`` is for a stride of 1.
    groups : int
        Divides both channel counts.
    out : ndarray, optional
        Where the result goes.
    threads : int
        The most threads of the call.

    Returns
    -------
    ndarray
        ``(N, out, D_out, H_out, W_out)`` of the type of `input`; int32 of whole numbers.

    Raises
    ------
    ValueError
        Shapes or numbers do not fit; the sentence says which.
    TypeError
        An array holds a type that is not taken, or types do not go together.
    """
    return _forward(3, input, weight, bias, stride, padding, dilation, groups, out, threads)


def conv_transpose1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Axes = 1,
    padding: Axes = 0,
    output_padding: Axes = 0,
    groups: int = 1,
    dilation: Axes = 1,
    *,
    out: Array | None = None,
    threads: int = 1,
) -> Array:
    """Transposed convolution, as ``torch.nn.functional.conv_transpose1d``.

    `weight` is ``(C, out / groups, K)``; `padding` crops the output on both sides, and
    `output_padding` adds outputs at the end. The rest is as for `conv1d`.
    """
    return _transposed(
        1, input, weight, bias, stride, padding, output_padding, groups, dilation, out, threads
    )


def conv_transpose2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Axes = 1,
    padding: Axes = 0,
    output_padding: Axes = 0,
    groups: int = 1,
    dilation: Axes = 1,
    *,
    out: Array | None = None,
    threads: int = 1,
) -> Array:
    """Transposed convolution, as ``torch.nn.functional.conv_transpose2d``.

    `weight` is ``(C, out / groups, KH, KW)``; `padding` crops the output on both sides, and
    `output_padding` adds outputs at the end. The rest is as for `conv2d`.
    """
    return _transposed(
        2, input, weight, bias, stride, padding, output_padding, groups, dilation, out, threads
    )


def conv_transpose3d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Axes = 1,
    padding: Axes = 0,
    output_padding: Axes = 0,
    groups: int = 1,
    dilation: Axes = 1,
    *,
    out: Array | None = None,
    threads: int = 1,
) -> Array:
    """Transposed convolution, as ``torch.nn.functional.conv_transpose3d``.

    `weight` is ``(C, out / groups, KD, KH, KW)``; `padding` crops the output on both sides, and
    `output_padding` adds outputs at the end. The rest is as for `conv3d`.
    """
    return _transposed(
        3, input, weight, bias, stride, padding, output_padding, groups, dilation, out, threads
    )
