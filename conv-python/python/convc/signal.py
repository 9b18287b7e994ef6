"""`scipy.signal`'s convolutions: `convolve`, `correlate`, `convolve2d`.

What differs from SciPy: nothing goes through an FFT unasked, so that two large arrays cost all
their products without ``method="fft"``; sums of integers are exact, whatever the method, and
refused where they might pass 2**53 (SciPy's wrap around). A weight of zero takes no element, not
even an infinite one or NaN.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ._arrays import Array, aligned, as_array, as_given
from ._filter import Options, Pass, convolved, exact, options

__all__ = ["convolve", "convolve2d", "correlate"]

_BOUNDARIES = {
    "fill": "constant",
    "pad": "constant",
    "wrap": "circular",
    "circular": "circular",
    "symm": "symmetric",
    "symmetric": "symmetric",
}

#: Whole numbers up to here are exact in float64.
_EXACT = 1 << 53


def convolve(
    in1: Any,
    in2: Any,
    mode: str = "full",
    method: str = "auto",
    *,
    threads: int = 1,
    accuracy: str = "exact",
) -> Array:
    """Convolve two arrays, as `scipy.signal.convolve` does.

    Parameters
    ----------
    in1, in2 : array_like
        Of the same number of axes, at most 8.
    mode : {"full", "valid", "same"}
        Every output that sees an element, those that see elements only, or as many as `in1` has,
        from the middle.
    method : {"auto", "direct", "fft"}
        "fft" is ``accuracy="fast"``: a Fourier transform of blocks, where it is faster. Otherwise
        sums are made directly, whatever the sizes.
    threads : int
        The most threads of the call.
    accuracy : {"exact", "fast", "within(1e-4)", "unfused"}
        As for `convc.compile`.

    Returns
    -------
    ndarray
        Of the type that NumPy promotes both to.

    Raises
    ------
    ValueError
        Axes differ in number, a word is not known, or sums of integers might pass 2**53.
    TypeError
        A type is none that is summed here.

    Examples
    --------
    >>> import convc
    >>> convc.signal.convolve([1.0, 2.0, 3.0], [0.0, 1.0, 0.5])
    array([0. , 1. , 2.5, 4. , 1.5])
    """
    a, b = _arrays(in1, in2)
    _check(mode, method)
    if a.ndim == b.ndim == 0:
        return np.asarray(a * b)[()]
    return as_given(_full(a, b, mode, _options(method, accuracy, threads)), in1)


def correlate(
    in1: Any,
    in2: Any,
    mode: str = "full",
    method: str = "auto",
    *,
    threads: int = 1,
    accuracy: str = "exact",
) -> Array:
    """Correlate two arrays, as `scipy.signal.correlate` does: `convolve` with `in2` reversed along
    every axis and conjugated. Parameters are those of `convolve`.
    """
    a, b = _arrays(in1, in2)
    _check(mode, method)
    if a.ndim == b.ndim == 0:
        return np.asarray(a * _conjugate(b))[()]
    made = _full(a, _conjugate(_reversed(b)), mode, _options(method, accuracy, threads))
    return as_given(made, in1)


def convolve2d(
    in1: Any,
    in2: Any,
    mode: str = "full",
    boundary: str = "fill",
    fillvalue: float = 0,
    *,
    threads: int = 1,
    accuracy: str = "exact",
) -> Array:
    """Convolve two arrays of two axes, as `scipy.signal.convolve2d` does.

    Parameters
    ----------
    in1, in2 : array_like
        Of two axes.
    mode : {"full", "valid", "same"}
        As for `convolve`.
    boundary : {"fill", "wrap", "symm"}
        What lies beyond `in1`: `fillvalue`, its other end, or `in1` mirrored, the edge repeated.
    fillvalue : float
        The value of boundary "fill".
    threads : int
        The most threads of the call.
    accuracy : {"exact", "fast", "within(1e-4)", "unfused"}
        As for `convc.compile`.

    Returns
    -------
    ndarray
        Of the type that NumPy promotes both to.
    """
    a, b = as_array(in1), as_array(in2)
    if not a.ndim == b.ndim == 2:
        raise ValueError("convolve2d inputs must both be 2-D arrays")
    _check(mode, "auto")
    if boundary not in _BOUNDARIES:
        words = "'fill', 'wrap' or 'symm'"
        raise ValueError(f"boundary: found {boundary!r}, expected {words}")
    if _is_swapped(a.shape, b.shape, mode):
        a, b = b, a
    value = np.asarray(fillvalue)
    if value.size != 1:
        raise ValueError(f"fillvalue has {value.size} elements, but must be one number")
    fill = complex(value.astype(np.result_type(a, b), casting="unsafe").reshape(-1)[0])
    if a.size == 0 or b.size == 0:
        return as_given(np.zeros(_shape(a.shape, b.shape, mode), np.result_type(a, b)), in1)
    how = options(accuracy, threads)
    return as_given(_summed(a, b, mode, _BOUNDARIES[boundary], fill, how), in1)


def _arrays(in1: Any, in2: Any) -> tuple[Array, Array]:
    a, b = as_array(in1), as_array(in2)
    if a.ndim != b.ndim:
        raise ValueError(
            f"in1 and in2 should have the same dimensionality, but have {a.ndim} and {b.ndim} axes"
        )
    return a, b


def _check(mode: str, method: str) -> None:
    if mode not in ("full", "valid", "same"):
        raise ValueError(f"mode: found {mode!r}, expected 'full', 'valid' or 'same'")
    if method not in ("auto", "direct", "fft"):
        raise ValueError(f"method: found {method!r}, expected 'auto', 'direct' or 'fft'")


def _options(method: str, accuracy: str, threads: int) -> Options:
    is_fast = method == "fft" and accuracy == "exact"
    return options("fast" if is_fast else accuracy, threads)


def _is_swapped(a: tuple[int, ...], b: tuple[int, ...], mode: str) -> bool:
    """Whether `valid` slides the first over the second."""
    if mode != "valid" or all(x >= y for x, y in zip(a, b)):
        return False
    if all(y >= x for x, y in zip(a, b)):
        return True
    raise ValueError(
        f"For 'valid' mode, one must be at least as large as the other in every dimension, but "
        f"their shapes are {a} and {b}"
    )


def _shape(a: tuple[int, ...], b: tuple[int, ...], mode: str) -> tuple[int, ...]:
    if mode == "same":
        return a
    more = -1 if mode == "full" else 1
    sign = 1 if mode == "full" else -1
    return tuple(max(x + sign * y + more, 0) for x, y in zip(a, b))


def _conjugate(x: Array) -> Array:
    """The conjugate, without a change of type: NumPy makes int8 of bool."""
    return np.conj(x) if x.dtype.kind == "c" else x


def _reversed(x: Array) -> Array:
    return x[(slice(None, None, -1),) * x.ndim]


def _full(a: Array, b: Array, mode: str, options: Options) -> Array:
    dtype = np.result_type(a, b)
    if _is_swapped(a.shape, b.shape, mode):
        a, b = b, a
    if a.size == 0 or b.size == 0:
        return np.zeros(_shape(a.shape, b.shape, mode), dtype)
    # The smaller one slides: its taps are fewer.
    if mode == "full" and b.size > a.size:
        a, b = b, a
    return _summed(a, b, mode, "constant", 0.0, options)


def _summed(a: Array, b: Array, mode: str, border: str, fill: complex, options: Options) -> Array:
    """`b` slid over `a`."""
    dtype = np.result_type(a, b)
    if dtype.kind not in "biufc" or dtype.itemsize > (16 if dtype.kind == "c" else 8):
        raise TypeError(f"arrays of {dtype} are not summed here")
    if dtype == np.float16:
        raise TypeError("float16 is not summed here: convert to float32")
    if dtype.kind != "c":
        return _real(a, b, dtype, mode, border, fill.real, options)
    part = np.dtype(f"f{dtype.itemsize // 2}")
    result = np.zeros(_shape(a.shape, b.shape, mode), dtype)
    for x, x_fill, x_unit in ((a.real, fill.real, 1), (a.imag, fill.imag, 1j)):
        for y, y_unit in ((b.real, 1), (b.imag, 1j)):
            if y.any() and (x.any() or x_fill):
                value = _real(x, y, part, mode, border, x_fill, options)
                result += dtype.type(x_unit * y_unit) * value
    return result


def _real(
    a: Array, b: Array, dtype: np.dtype[Any], mode: str, border: str, fill: float, options: Options
) -> Array:
    whole = dtype.kind in "biu"
    if whole:
        _check_exact(a, b, fill)
        options = exact(options)
    work = np.dtype(np.float64) if whole else dtype
    window = np.ascontiguousarray(_reversed(b), np.float64)
    step = Pass(window, tuple(_pad(size, mode) for size in b.shape), border, fill)
    result = convolved(aligned(np.asarray(a, work)), [step], options)
    return result if not whole else (result != 0) if dtype.kind == "b" else result.astype(dtype)


def _pad(size: int, mode: str) -> tuple[int, int]:
    """Elements beyond each side that outputs see."""
    if mode == "valid":
        return 0, 0
    behind = (size - 1) // 2 if mode == "same" else size - 1
    return (size - 1 - behind if mode == "same" else size - 1), behind


def _check_exact(a: Array, b: Array, fill: float) -> None:
    largest = max(abs(int(a.max())), abs(int(a.min())), abs(int(fill)))
    bound = largest * float(np.abs(b.astype(np.float64)).sum())
    if bound > _EXACT or largest > _EXACT:
        raise ValueError(
            f"sums of these integers may reach {bound:.3g}, past 2**53, where float64 rounds: "
            f"convert an array to float64 if rounding is meant"
        )
