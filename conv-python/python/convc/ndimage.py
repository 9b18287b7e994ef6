"""`scipy.ndimage`'s linear filters: the same arguments, results and kinds of exceptions.

What differs from SciPy:

- float32 arrays are summed in float32 where output and input are (SciPy sums in float64), and in
  another order: results differ by the rounding of a sum. Pass float64 to have float64's.
- Whole numbers (integers, bool) are summed in float64 as SciPy's are, or exactly; a sum that is no
  whole number and within rounding of one may be cut to the other side.
- `uniform_filter` sums each window by itself, where SciPy keeps a running sum: a NaN or an
  infinity stays within its window.
- bool arrays are 0 and 1 between passes too, where SciPy's hold other bytes.
- A window has at most 8 axes of more than one element.
- A weight of zero takes no element, not even an infinite one or NaN.
- float16, longdouble and object arrays are refused, as by SciPy.

Every function takes ``threads`` (1 unless said) and ``accuracy`` (see `convc.compile`), and dask
arrays (see `convc.dask`). ``nan="normalize"`` leaves out elements that are NaN and divides by the
sum of the weights that are left, as `astropy.convolution.convolve` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ._apply import applied, public
from ._arrays import Array
from ._terms import (
    gaussian1d_terms,
    gaussian_laplace_terms,
    gaussian_terms,
    gradient_terms,
    laplace_terms,
    line_terms,
    uniform1d_terms,
    uniform_terms,
    window_terms,
)

__all__ = [
    "convolve",
    "convolve1d",
    "correlate",
    "correlate1d",
    "gaussian_filter",
    "gaussian_filter1d",
    "gaussian_laplace",
    "laplace",
    "prewitt",
    "sobel",
    "uniform_filter",
    "uniform_filter1d",
]


@public
def correlate(
    input: Any,
    weights: Any,
    output: Any = None,
    mode: str = "reflect",
    cval: float = 0.0,
    origin: int | Sequence[int] = 0,
    *,
    axes: int | Sequence[int] | None = None,
    threads: int = 1,
    accuracy: str = "exact",
    nan: str | None = None,
) -> Array:
    """Correlate with a window of as many axes, as `scipy.ndimage.correlate` does.

    Parameters
    ----------
    %(input)s
    weights : array_like
        The window, with an axis for each that is filtered.
    %(output)s
    %(mode)s
    origin : int or sequence of int
        Moves the window; positive to the left.
    %(axes)s
    %(said)s
    %(nan)s
    %(result)s
    %(raises)s
    """
    words = (weights, mode, cval, origin, axes, False)
    return applied(input, window_terms, words, output, nan, (accuracy, threads))


@public
def convolve(
    input: Any,
    weights: Any,
    output: Any = None,
    mode: str = "reflect",
    cval: float = 0.0,
    origin: int | Sequence[int] = 0,
    *,
    axes: int | Sequence[int] | None = None,
    threads: int = 1,
    accuracy: str = "exact",
    nan: str | None = None,
) -> Array:
    """Convolve with a window of as many axes, as `scipy.ndimage.convolve` does.

    Parameters
    ----------
    %(input)s
    weights : array_like
        The window, with an axis for each that is filtered.
    %(output)s
    %(mode)s
    origin : int or sequence of int
        Moves the window; positive to the left.
    %(axes)s
    %(said)s
    %(nan)s
    %(result)s
    %(raises)s

    Examples
    --------
    >>> import numpy as np, convc
    >>> convc.convolve(np.array([0.0, 1.0, 0.0, 0.0]), [1.0, 2.0, 3.0])
    array([1., 2., 3., 0.])
    """
    words = (weights, mode, cval, origin, axes, True)
    return applied(input, window_terms, words, output, nan, (accuracy, threads))


@public
def correlate1d(
    input: Any,
    weights: Any,
    axis: int = -1,
    output: Any = None,
    mode: str = "reflect",
    cval: float = 0.0,
    origin: int = 0,
    *,
    threads: int = 1,
    accuracy: str = "exact",
    nan: str | None = None,
) -> Array:
    """Correlate along one axis, as `scipy.ndimage.correlate1d` does.

    Parameters
    ----------
    %(input)s
    weights : array_like
        The window, of one axis.
    axis : int
        Along which.
    %(output)s
    %(mode)s
    origin : int
        Moves the window; positive to the left.
    %(said)s
    %(nan)s
    %(result)s
    """
    words = (weights, axis, mode, cval, origin, False)
    return applied(input, line_terms, words, output, nan, (accuracy, threads))


@public
def convolve1d(
    input: Any,
    weights: Any,
    axis: int = -1,
    output: Any = None,
    mode: str = "reflect",
    cval: float = 0.0,
    origin: int = 0,
    *,
    threads: int = 1,
    accuracy: str = "exact",
    nan: str | None = None,
) -> Array:
    """Convolve along one axis, as `scipy.ndimage.convolve1d` does.

    Parameters
    ----------
    %(input)s
    weights : array_like
        The window, of one axis.
    axis : int
        Along which.
    %(output)s
    %(mode)s
    origin : int
        Moves the window; positive to the left.
    %(said)s
    %(nan)s
    %(result)s
    """
    words = (weights, axis, mode, cval, origin, True)
    return applied(input, line_terms, words, output, nan, (accuracy, threads))


@public
def gaussian_filter1d(
    input: Any,
    sigma: float,
    axis: int = -1,
    order: int = 0,
    output: Any = None,
    mode: str = "reflect",
    cval: float = 0.0,
    truncate: float = 4.0,
    *,
    radius: int | None = None,
    threads: int = 1,
    accuracy: str = "exact",
    nan: str | None = None,
) -> Array:
    """Convolve with a Gaussian along one axis, as `scipy.ndimage.gaussian_filter1d` does.

    Parameters
    ----------
    %(input)s
    sigma : float
        Standard deviation, in elements.
    axis : int
        Along which.
    order : int
        0 is the Gaussian, n its n-th derivative.
    %(output)s
    %(mode)s
    truncate : float
        Cuts the window at so many standard deviations.
    radius : int, optional
        Cuts it at so many elements instead.
    %(said)s
    %(nan)s
    %(result)s
    """
    words = (sigma, axis, order, mode, cval, truncate, radius)
    return applied(input, gaussian1d_terms, words, output, nan, (accuracy, threads))


@public
def gaussian_filter(
    input: Any,
    sigma: float | Sequence[float],
    order: int | Sequence[int] = 0,
    output: Any = None,
    mode: str | Sequence[str] = "reflect",
    cval: float = 0.0,
    truncate: float = 4.0,
    *,
    radius: int | Sequence[int] | None = None,
    axes: int | Sequence[int] | None = None,
    threads: int = 1,
    accuracy: str = "exact",
    nan: str | None = None,
) -> Array:
    """Convolve with a Gaussian along each axis, as `scipy.ndimage.gaussian_filter` does.

    The passes are one program: where it pays, a strip of rows goes through all of them before the
    next, and no whole array is between.

    Parameters
    ----------
    %(input)s
    sigma : float or sequence of float
        Standard deviation, in elements.
    order : int or sequence of int
        0 is the Gaussian, n its n-th derivative, for each axis.
    %(output)s
    %(modes)s
    truncate : float
        Cuts the window at so many standard deviations.
    radius : int or sequence of int, optional
        Cuts it at so many elements instead.
    %(axes)s
    %(said)s
    %(nan)s
    %(result)s
    """
    words = (sigma, order, mode, cval, truncate, radius, axes)
    return applied(input, gaussian_terms, words, output, nan, (accuracy, threads))


@public
def uniform_filter1d(
    input: Any,
    size: int,
    axis: int = -1,
    output: Any = None,
    mode: str = "reflect",
    cval: float = 0.0,
    origin: int = 0,
    *,
    threads: int = 1,
    accuracy: str = "exact",
    nan: str | None = None,
) -> Array:
    """The mean of a window along one axis, as `scipy.ndimage.uniform_filter1d` gives.

    Parameters
    ----------
    %(input)s
    size : int
        Elements of the window.
    axis : int
        Along which.
    %(output)s
    %(mode)s
    origin : int
        Moves the window; positive to the left.
    %(said)s
    %(nan)s
    %(result)s
    """
    words = (size, axis, mode, cval, origin)
    return applied(input, uniform1d_terms, words, output, nan, (accuracy, threads))


@public
def uniform_filter(
    input: Any,
    size: int | Sequence[int] = 3,
    output: Any = None,
    mode: str | Sequence[str] = "reflect",
    cval: float = 0.0,
    origin: int | Sequence[int] = 0,
    *,
    axes: int | Sequence[int] | None = None,
    threads: int = 1,
    accuracy: str = "exact",
    nan: str | None = None,
) -> Array:
    """The mean of a window, as `scipy.ndimage.uniform_filter` gives.

    Parameters
    ----------
    %(input)s
    size : int or sequence of int
        Elements of the window.
    %(output)s
    %(modes)s
    origin : int or sequence of int
        Moves the window; positive to the left.
    %(axes)s
    %(said)s
    %(nan)s
    %(result)s
    """
    words = (size, mode, cval, origin, axes)
    return applied(input, uniform_terms, words, output, nan, (accuracy, threads))


@public
def sobel(
    input: Any,
    axis: int = -1,
    output: Any = None,
    mode: str | Sequence[str] = "reflect",
    cval: float = 0.0,
    *,
    threads: int = 1,
    accuracy: str = "exact",
) -> Array:
    """Sobel's edges along an axis, as `scipy.ndimage.sobel` gives.

    Parameters
    ----------
    %(input)s
    axis : int
        Along which the difference is taken; along the others the smoothing.
    %(output)s
    %(modes)s
    %(said)s
    %(result)s
    """
    words = ((1, 2, 1), axis, mode, cval)
    return applied(input, gradient_terms, words, output, None, (accuracy, threads))


@public
def prewitt(
    input: Any,
    axis: int = -1,
    output: Any = None,
    mode: str | Sequence[str] = "reflect",
    cval: float = 0.0,
    *,
    threads: int = 1,
    accuracy: str = "exact",
) -> Array:
    """Prewitt's edges along an axis, as `scipy.ndimage.prewitt` gives.

    Parameters
    ----------
    %(input)s
    axis : int
        Along which the difference is taken; along the others the smoothing.
    %(output)s
    %(modes)s
    %(said)s
    %(result)s
    """
    words = ((1, 1, 1), axis, mode, cval)
    return applied(input, gradient_terms, words, output, None, (accuracy, threads))


@public
def laplace(
    input: Any,
    output: Any = None,
    mode: str | Sequence[str] = "reflect",
    cval: float = 0.0,
    *,
    axes: int | Sequence[int] | None = None,
    threads: int = 1,
    accuracy: str = "exact",
) -> Array:
    """The sum of second differences along the axes, as `scipy.ndimage.laplace` gives.

    Parameters
    ----------
    %(input)s
    %(output)s
    %(modes)s
    %(axes)s
    %(said)s
    %(result)s
    """
    words = (mode, cval, axes)
    return applied(input, laplace_terms, words, output, None, (accuracy, threads))


@public
def gaussian_laplace(
    input: Any,
    sigma: float | Sequence[float],
    output: Any = None,
    mode: str | Sequence[str] = "reflect",
    cval: float = 0.0,
    *,
    threads: int = 1,
    accuracy: str = "exact",
    axes: Any = None,
    **said: Any,
) -> Array:
    """The Laplacian of a Gaussian, as `scipy.ndimage.gaussian_laplace` gives.

    Parameters
    ----------
    %(input)s
    sigma : float or sequence of float
        Standard deviation, in elements.
    %(output)s
    %(modes)s
    %(axes)s
    **said
        ``truncate`` and ``radius`` of `gaussian_filter`.
    %(said)s
    %(result)s
    """
    words = (sigma, mode, cval, axes)
    how = (accuracy, threads)
    return applied(input, gaussian_laplace_terms, words, output, None, how, **said)
