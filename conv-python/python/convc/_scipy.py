"""SciPy's manners: how its filters read their arguments, and which exceptions they raise.

The kinds of the exceptions are SciPy's, so that code which catches them goes on working: a
`RuntimeError` where SciPy raises one for what NumPy would call a `ValueError`.
"""

from __future__ import annotations

import operator
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from ._arrays import Array
from ._filter import MODES


def per_axis(value: Any, count: int) -> list[Any]:
    """One for each axis: a list of as many, or the same for all."""
    if isinstance(value, str) or not np.iterable(value):
        return [value] * count
    values = list(value)
    if len(values) != count:
        raise RuntimeError(f"a sequence of {len(values)} was given, but {count} axes are filtered")
    return values


def axis_of(axis: int, ndim: int) -> int:
    """Counted from the front; `numpy.exceptions.AxisError` where there is none."""
    return int(normalize_axis_index(axis, ndim))


def axes_of(axes: Any, ndim: int) -> tuple[int, ...]:
    """The axes that are filtered, all unless said."""
    if axes is None:
        return tuple(range(ndim))
    if np.isscalar(axes):
        axes = (axes,)
    elif not isinstance(axes, Iterable):
        raise ValueError("axes must be an integer, several of them, or None")
    found = tuple(operator.index(axis) for axis in axes)
    for axis in found:
        if not -ndim <= axis < ndim:
            raise ValueError(f"axes: {axis} is out of range for an array of {ndim} axes")
    found = tuple(axis % ndim for axis in found)
    if len(set(found)) != len(found):
        raise ValueError(f"axes must be unique, but are {found}")
    return found


def mode_of(mode: Any) -> str:
    """The compiler's word for one of SciPy's modes."""
    found = MODES.get(mode) if isinstance(mode, str) else None
    if found is None:
        raise RuntimeError(f"mode {mode!r} is not supported: it is one of {', '.join(MODES)}")
    return found


def cval_of(cval: Any) -> float | complex:
    """A number; a complex one is for complex arrays."""
    if isinstance(cval, (str, bytes)):
        raise TypeError(f"cval must be a number, not {cval!r}")
    return complex(cval) if np.iscomplexobj(cval) else float(cval)


def origin_of(origin: Any, size: int) -> int:
    """How far the window is moved: its centre stays inside."""
    moved = operator.index(origin)
    if not -(size // 2) <= moved <= (size - 1) // 2:
        raise ValueError(
            f"Invalid origin; {moved} moves a window of {size} by more than half: "
            f"-(size // 2) <= origin <= (size - 1) // 2"
        )
    return moved


def output_of(output: Any, input: Array, is_complex: bool, shape: tuple[int, ...]) -> Array:
    """The caller's output, or a new array of the type that was asked for."""
    if output is None:
        dtype = input.dtype.newbyteorder("=")
        return np.empty(shape, np.promote_types(dtype, np.complex64) if is_complex else dtype)
    if isinstance(output, (type, np.dtype)):
        dtype = np.dtype(output)
        if is_complex and dtype.kind != "c":
            warnings.warn("promoting specified output dtype to complex", stacklevel=4)
            dtype = np.promote_types(dtype, np.complex64)
        return np.empty(shape, dtype)
    if isinstance(output, str):
        dtype = np.dtype(output)
        if is_complex and dtype.kind != "c":
            raise RuntimeError("output must have complex dtype")
        if not issubclass(dtype.type, np.number):
            raise RuntimeError("output must have numeric dtype")
        return np.empty(shape, dtype)
    given: Array = np.asarray(output)
    if given.shape != shape:
        raise RuntimeError(f"output has shape {given.shape}, but the input has {shape}")
    if is_complex and given.dtype.kind != "c":
        raise RuntimeError("output must have complex dtype")
    return given


def embedded(weights: Array, ndim: int, axes: Sequence[int]) -> Array:
    """A window of the filtered axes as one of all axes, in the array's order of them."""
    others = tuple(axis for axis in range(ndim) if axis not in axes)
    return np.expand_dims(weights, others)
