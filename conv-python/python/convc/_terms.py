"""The terms of `scipy.ndimage`'s filters, from their arguments."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import replace
from numbers import Integral
from typing import Any

import numpy as np

from ._arrays import Array, as_array
from ._filter import Pass
from ._scipy import axes_of, axis_of, cval_of, embedded, mode_of, origin_of, per_axis

Terms = list[list[Pass]]

#: Below, a Gaussian is an identity: SciPy's bound.
_LEAST_SIGMA = 1e-15


def _weights(given: Any) -> Array:
    """A window as float64, or complex128."""
    array = as_array(given)
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)


def _line(ndim: int, axis: int, weights: Array, mode: Any, cval: Any, origin: int = 0) -> Pass:
    """A pass along one axis."""
    size = len(weights)
    shape, pads = [1] * ndim, [(0, 0)] * ndim
    shape[axis] = size
    before = size // 2 + origin
    pads[axis] = (before, size - 1 - before)
    return Pass(weights.reshape(shape), tuple(pads), mode_of(mode), cval_of(cval))


def window_terms(
    ndim: int,
    weights: Any,
    mode: Any = "reflect",
    cval: Any = 0.0,
    origin: Any = 0,
    axes: Any = None,
    flip: bool = False,
) -> Terms:
    """Of `correlate` and, with `flip`, of `convolve`."""
    filtered_axes = axes_of(axes, ndim)
    window = _weights(weights)
    if window.ndim != len(filtered_axes) or window.size == 0:
        raise RuntimeError(
            f"weights have shape {window.shape}, but must have {len(filtered_axes)} axes, one for "
            f"each that is filtered, and none that is empty"
        )
    origins = [0] * ndim
    for axis, value in zip(filtered_axes, per_axis(origin, len(filtered_axes))):
        origins[axis] = operator.index(value)
    window = embedded(window, ndim, filtered_axes)
    if flip:
        window = window[(slice(None, None, -1),) * ndim]
        origins = [-o - (size % 2 == 0) for o, size in zip(origins, window.shape)]
    elif window.dtype.kind == "c":
        window = window.conj()
    pads = []
    for value, size in zip(origins, window.shape):
        before = size // 2 + origin_of(value, size)
        pads.append((before, size - 1 - before))
    if not isinstance(mode, str) and np.iterable(mode):
        raise RuntimeError("a sequence of modes is not supported: give one for all axes")
    window = np.ascontiguousarray(window).reshape(window.shape)
    return [[Pass(window, tuple(pads), mode_of(mode), cval_of(cval))]]


def line_terms(
    ndim: int,
    weights: Any,
    axis: int = -1,
    mode: Any = "reflect",
    cval: Any = 0.0,
    origin: int = 0,
    flip: bool = False,
) -> Terms:
    """Of `correlate1d` and, with `flip`, of `convolve1d`."""
    line = _weights(weights)
    if line.ndim != 1 or line.size == 0:
        raise RuntimeError(f"no filter weights given: they have shape {line.shape}")
    axis, origin = axis_of(axis, ndim), operator.index(origin)
    if flip:
        line, origin = line[::-1], -origin - (len(line) % 2 == 0)
    elif line.dtype.kind == "c":
        line = line.conj()
    line = np.ascontiguousarray(line)
    return [[_line(ndim, axis, line, mode, cval, origin_of(origin, len(line)))]]


def gaussian_weights(sigma: float, order: int, radius: int) -> Array:
    """A sampled Gaussian whose sum is 1, or its derivative: Hermite's polynomial times it."""
    if order < 0:
        raise ValueError(f"order: {order}, but must be non-negative")
    x = np.arange(-radius, radius + 1)
    gauss = np.exp(-0.5 / (sigma * sigma) * x**2)
    gauss /= gauss.sum()
    # The derivative of q(x) exp(-x^2 / 2 sigma^2) is (q' - x q / sigma^2) exp(..).
    q = np.polynomial.Polynomial([1.0])
    slope = np.polynomial.Polynomial([0.0, -1.0 / (sigma * sigma)])
    for _ in range(order):
        q = q.deriv() + slope * q
    return np.ascontiguousarray((gauss * q(x))[::-1])


def _gaussian_pass(
    ndim: int, axis: int, sigma: Any, order: Any, mode: Any, cval: Any, reach: tuple[Any, Any]
) -> Pass:
    truncate, radius = reach
    sd = float(sigma)
    radius = int(truncate * sd + 0.5) if radius is None else radius
    if not isinstance(radius, Integral) or radius < 0:
        raise ValueError(f"Radius must be a nonnegative integer, but is {radius}")
    return _line(ndim, axis, gaussian_weights(sd, order, int(radius)), mode, cval)


def gaussian1d_terms(
    ndim: int,
    sigma: Any,
    axis: int = -1,
    order: int = 0,
    mode: Any = "reflect",
    cval: Any = 0.0,
    truncate: float = 4.0,
    radius: Any = None,
) -> Terms:
    """Of `gaussian_filter1d`."""
    reach = (truncate, radius)
    # The weights come first: they have SciPy's first complaint.
    made = _gaussian_pass(1, 0, sigma, order, mode, cval, reach).weights
    return [[_line(ndim, axis_of(axis, ndim), made, mode, cval)]]


def gaussian_terms(
    ndim: int,
    sigma: Any,
    order: Any = 0,
    mode: Any = "reflect",
    cval: Any = 0.0,
    truncate: float = 4.0,
    radius: Any = None,
    axes: Any = None,
) -> Terms:
    """Of `gaussian_filter`: a pass for each axis."""
    axes = axes_of(axes, ndim)
    count = len(axes)
    sigmas, orders, modes, radii = (per_axis(v, count) for v in (sigma, order, mode, radius))
    return [
        [
            _gaussian_pass(ndim, axis, s, o, m, cval, (truncate, r))
            for axis, s, o, m, r in zip(axes, sigmas, orders, modes, radii)
            if s > _LEAST_SIGMA
        ]
    ]


def gradient_terms(ndim: int, across: Sequence[int], axis: int, mode: Any, cval: Any) -> Terms:
    """Of `sobel` and `prewitt`: a difference along an axis, smoothed by `across` along others."""
    axis = axis_of(axis, ndim)
    modes = per_axis(mode, ndim)
    others = [other for other in range(ndim) if other != axis]
    smooth = np.array(across, np.float64)
    first = _line(ndim, axis, np.array([-1.0, 0.0, 1.0]), modes[axis], cval)
    return [[first, *(_line(ndim, other, smooth, modes[other], cval) for other in others)]]


def laplace_terms(ndim: int, mode: Any = "reflect", cval: Any = 0.0, axes: Any = None) -> Terms:
    """Of `laplace`: a term for each axis."""
    axes = axes_of(axes, ndim)
    modes = per_axis(mode, len(axes))
    second = np.array([1.0, -2.0, 1.0])
    return [[_line(ndim, axis, second, m, cval)] for axis, m in zip(axes, modes)]


def gaussian_laplace_terms(
    ndim: int,
    sigma: Any,
    mode: Any = "reflect",
    cval: Any = 0.0,
    axes: Any = None,
    **said: Any,
) -> Terms:
    """Of `gaussian_laplace`: for each axis a Gaussian whose second derivative is along it."""
    axes = axes_of(axes, ndim)
    sigmas = [0.0] * ndim
    for axis, value in zip(axes, per_axis(sigma, len(axes))):
        sigmas[axis] = value
    modes = per_axis(mode, len(axes))
    terms = []
    for axis, axis_mode in zip(axes, modes):
        order = [0] * ndim
        order[axis] = 2
        terms += gaussian_terms(ndim, sigmas, order, axis_mode, cval, **said)
    return terms


def _uniform_pass(ndim: int, axis: int, size: int, mode: Any, cval: Any, origin: Any) -> Pass:
    if size < 1:
        raise RuntimeError(f"size: {size}, but must be at least 1")
    if not 0 <= size // 2 + operator.index(origin) < size:
        raise ValueError(f"invalid origin {origin} for a size of {size}")
    ones = _line(ndim, axis, np.ones(size), mode, cval, operator.index(origin))
    return replace(ones, divisor=float(size))


def uniform1d_terms(
    ndim: int, size: int, axis: int = -1, mode: Any = "reflect", cval: Any = 0.0, origin: int = 0
) -> Terms:
    """Of `uniform_filter1d`."""
    axis = axis_of(axis, ndim)
    return [[_uniform_pass(ndim, axis, operator.index(size), mode, cval, origin)]]


def uniform_terms(
    ndim: int,
    size: Any = 3,
    mode: Any = "reflect",
    cval: Any = 0.0,
    origin: Any = 0,
    axes: Any = None,
) -> Terms:
    """Of `uniform_filter`: a pass for each axis."""
    axes = axes_of(axes, ndim)
    count = len(axes)
    sizes, origins, modes = (per_axis(value, count) for value in (size, origin, mode))
    return [
        [
            _uniform_pass(ndim, axis, int(s), m, cval, o)
            for axis, s, o, m in zip(axes, sizes, origins, modes)
            if s > 1
        ]
    ]
