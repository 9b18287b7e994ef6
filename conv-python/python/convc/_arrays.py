"""What comes in as an array, and how it lies in memory."""

from __future__ import annotations

import operator
import sys
from typing import Any, TypeAlias, cast

import numpy as np

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]


#: NumPy's names of types, and the compiler's. bfloat16 is of the package ml_dtypes.
DTYPES = {
    "float32": "f32",
    "float64": "f64",
    "float16": "f16",
    "bfloat16": "bf16",
    "int8": "i8",
    "uint8": "u8",
    "int16": "i16",
    "uint16": "u16",
    "int32": "i32",
}


def dtype_of(name: str) -> np.dtype[Any]:
    """NumPy's type of that name."""
    if name != "bfloat16":
        return np.dtype(name)
    try:
        from ml_dtypes import bfloat16
    except ImportError:
        raise TypeError("NumPy has no bfloat16: install ml_dtypes, which has it") from None
    made: np.dtype[Any] = np.dtype(bfloat16)
    return made


def is_held(dtype: np.dtype[Any]) -> bool:
    """Whether the compiled half takes arrays of the type as they are."""
    return dtype.itemsize != 2 or dtype.kind in "iu"


def held(x: Array) -> Array:
    """As the compiled half takes it: numbers of 16 bits as their bits."""
    return x if is_held(x.dtype) else x.view(np.uint16)


def as_array(x: Any) -> Array:
    """A NumPy array of `x`, without a copy where `x` is one or has ``__dlpack__`` on the CPU."""
    if isinstance(x, np.ndarray):
        return x if type(x) is np.ndarray else np.asarray(x)
    if hasattr(x, "__dlpack__"):
        return np.from_dlpack(x)
    return np.asarray(x)


def as_given(result: Array, x: Any) -> Array:
    """A result as an array of the library of `x`, without a copy; NumPy's where that library takes
    none from others (``from_dlpack``)."""
    if isinstance(x, np.ndarray) or type(result) is not np.ndarray or not hasattr(x, "__dlpack__"):
        return result
    if hasattr(x, "__array_namespace__"):
        library = x.__array_namespace__()
    else:
        library = sys.modules.get(type(x).__module__.partition(".")[0])
    from_dlpack = getattr(library, "from_dlpack", None)
    return result if from_dlpack is None else cast(Array, from_dlpack(result))


def to_write(out: Any) -> Any:
    """An array of another library as NumPy's, in the same memory; all else as it is."""
    if isinstance(out, np.ndarray) or not hasattr(out, "__dlpack__"):
        return out
    return np.from_dlpack(out)


def by_rows(x: Array) -> Array:
    """`x` row by row in memory: itself, or a copy where it lies otherwise."""
    return x if lies_by_rows(x) else x.copy(order="C")


def aligned(x: Array) -> Array:
    """`x` itself, or a copy where an element's address is no multiple of its size."""
    return x if x.flags.aligned else x.copy(order="C")


def lies_by_rows(x: Array) -> bool:
    """Whether the elements lie row by row, each at an address that is a multiple of its size."""
    return x.flags.c_contiguous and x.flags.aligned


def typed(name: str, x: Any, dtype: np.dtype[Any]) -> Array:
    """An array of that type. Another type is an error: nothing is cast unasked."""
    x = as_array(x)
    if x.dtype != dtype:
        raise TypeError(
            f"{name} holds {x.dtype}, but the convolution takes {dtype}: convert it by "
            f"{name}.astype('{dtype}'), or describe the other type"
        )
    return aligned(x)


def check_shape(name: str, found: tuple[int, ...], needed: tuple[int, ...]) -> None:
    """Raises `ValueError` where a shape is not the one that is needed."""
    if found != needed:
        raise ValueError(f"{name} has shape {found}, but the convolution needs {needed}")


def check_out(out: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """The caller's output: a writable NumPy array of this shape and type."""
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out is no NumPy array, but a {type(out).__name__}")
    if out.dtype != dtype:
        raise TypeError(f"out holds {out.dtype}, but the convolution gives {dtype}")
    check_shape("out", out.shape, shape)
    if not out.flags.writeable:
        raise ValueError("out is read-only")
    return out


def needs_room(out: Array, *read: Array | None) -> bool:
    """Whether a result cannot be written to `out` directly: it may share memory with an array that
    is read, or an element with another one."""
    if not (out.flags.aligned and out.flags.writeable):
        return True
    if not out.flags.c_contiguous and _is_folded(out):
        return True
    return any(x is not None and np.may_share_memory(out, x) for x in read)


def _is_folded(x: Array) -> bool:
    """Whether elements may share memory with each other."""
    reach = x.itemsize
    for stride, n in sorted((abs(s), n) for s, n in zip(x.strides, x.shape) if n > 1):
        if stride < reach:
            return True
        reach += stride * (n - 1)
    return False


def check_threads(threads: int) -> int:
    """The most threads of a call: at least 1."""
    count = operator.index(threads)
    if not 1 <= count < 1 << 32:
        raise ValueError(f"threads: {count}, but must be at least 1 and below 2**32")
    return count
