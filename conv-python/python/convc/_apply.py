"""What every filter does with its terms: docstring, dask arrays, NaN, complex numbers, output."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, TypeVar, cast

import numpy as np

from . import _nan
from ._arrays import Array
from ._filter import Options, Pass, filtered
from ._scipy import output_of
from ._terms import Terms
from ._words import filled

_Function = TypeVar("_Function", bound=Callable[..., Any])


def public(function: _Function) -> _Function:
    """Fills in what the docstrings share. A dask array goes to `convc.dask`, to the function of the
    same name."""

    @functools.wraps(function)
    def called(input: Any, *args: Any, **kwargs: Any) -> Any:
        if type(input) is not np.ndarray and type(input).__module__.startswith("dask."):
            from . import dask

            return getattr(dask, function.__name__)(input, *args, **kwargs)
        return function(input, *args, **kwargs)

    called.__doc__ = filled(function.__doc__ or "")
    return cast(_Function, called)


def applied(
    input: Array,
    terms: Terms,
    output: Any,
    nan: str | None,
    options: Options,
) -> Array:
    """The sum of the terms. Complex arrays and weights are computed by their parts."""
    is_complex = input.dtype.kind == "c" or _any_complex(p.weights for t in terms for p in t)
    if input.dtype.kind != "c" and _any_complex(p.cval for t in terms for p in t):
        kind = ValueError if is_complex else TypeError
        raise kind("cval must be a real number where the input is real")
    made = output_of(output, input, is_complex)
    if nan is not None:
        _nan.check(nan, is_complex)
        if input.dtype.kind == "f":
            _nan.normalized(input, terms, made, options)
            return made
    if not is_complex:
        filtered(input, terms, made, options)
        return made
    result = np.empty(made.shape, made.dtype)
    _complex(input, terms, result, options)
    made[...] = result
    return made


def _any_complex(values: Iterable[Any]) -> bool:
    return any(np.iscomplexobj(value) for value in values)


def _complex(x: Array, terms: Terms, output: Array, options: Options) -> None:
    if x.dtype.kind != "c":
        filtered(x, _part(terms, "real", "real"), output.real, options)
        filtered(x, _part(terms, "imag", "real"), output.imag, options)
    elif _any_complex(p.weights for t in terms for p in t):
        other = np.empty_like(output.real)
        filtered(x.real, _part(terms, "real", "real"), output.real, options)
        filtered(x.imag, _part(terms, "imag", "imag"), other, options)
        output.real -= other
        filtered(x.real, _part(terms, "imag", "real"), output.imag, options)
        filtered(x.imag, _part(terms, "real", "imag"), other, options)
        output.imag += other
    else:
        filtered(x.real, _part(terms, "real", "real"), output.real, options)
        filtered(x.imag, _part(terms, "real", "imag"), output.imag, options)


def _part(terms: Terms, weights: str, cval: str) -> Terms:
    """The terms with one part of their weights and one of what is beyond the border."""

    def part(p: Pass) -> Pass:
        taken = np.ascontiguousarray(getattr(p.weights, weights), np.float64)
        beyond = getattr(complex(p.cval), cval)
        return replace(p, weights=taken.reshape(p.weights.shape), cval=beyond)

    return [[part(p) for p in passes] for passes in terms]
