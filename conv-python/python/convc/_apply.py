"""What every filter does with its terms: docstring, dask arrays, NaN, complex numbers, output."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, TypeVar, cast

import numpy as np

from . import _nan
from ._arrays import Array, aligned, as_array, as_given, needs_room, to_write
from ._filter import MOST_TAPS, Options, Pass, Way, filtered, options, result_shape
from ._scipy import output_of
from ._terms import Terms
from ._words import filled

_Function = TypeVar("_Function", bound=Callable[..., Any])


def public(function: _Function) -> _Function:
    """Fills in what the docstrings share. A dask array goes to `convc.dask`, to the function of the
    same name; of an array of another library the result is one of that, too."""

    @functools.wraps(function)
    def called(input: Any, *args: Any, **kwargs: Any) -> Any:
        if type(input) is np.ndarray:
            return function(input, *args, **kwargs)
        if type(input).__module__.startswith("dask."):
            from . import dask

            return getattr(dask, function.__name__)(input, *args, **kwargs)
        return as_given(function(input, *args, **kwargs), input)

    called.__doc__ = filled(function.__doc__ or "")
    return cast(_Function, called)


#: What calls did with arrays of a shape and type, by all that they were told: the last of them.
_MET: dict[tuple[Any, ...], Way] = {}
_MOST_MET = 256

#: Held while a call is remembered, and around a fork.
lock = threading.Lock()

#: Types of arguments that are keys as they are.
_PLAIN = frozenset(
    [int, float, bool, str, type(None), np.float64, np.float32, np.int64, np.int32, np.str_]
)


def applied(
    input: Any,
    make: Callable[..., Terms],
    words: tuple[Any, ...],
    output: Any,
    nan: str | None,
    how: tuple[Any, ...],
    **said: Any,
) -> Array:
    """What a filter whose terms are ``make(ndim, *words, **said)`` gives. `how`: accuracy, threads,
    and of a block where its array goes on. A call that was met is one look-up and one run."""
    x = as_array(input)
    key = None
    if nan is None:
        try:
            key = make, x.shape, x.dtype, *map(_frozen, (*words, *how, *said.items()))
        except TypeError:
            pass
        else:
            met = _MET.get(key)
            if met is not None:
                if output is None:
                    return met(aligned(x), None)
                if _takes(output, x):
                    return met(aligned(x), output)
    terms = make(x.ndim, *words, **said)
    to = to_write(output)
    made = _computed(x, terms, to, nan, options(*how), key)
    return made if to is output else cast(Array, output)


def _frozen(value: Any) -> Any:
    """An argument as a part of a key, or `TypeError`. 1 and 1.0 are two, as one of them may be a
    mistake."""
    kind = type(value)
    if kind in _PLAIN:
        return kind, value
    if kind is np.ndarray and value.size <= MOST_TAPS and value.dtype.kind in "biufc":
        return value.dtype, value.shape, value.tobytes()
    if kind in (tuple, list) and len(value) <= MOST_TAPS:
        return kind, *map(_frozen, value)
    raise TypeError(f"{kind} is no key")


def _takes(output: Any, x: Array) -> bool:
    """Whether a result of the shape and type of `x` can be written to `output` directly."""
    return (
        type(output) is np.ndarray
        and output.dtype == x.dtype
        and output.shape == x.shape
        and not needs_room(output, x)
    )


def _keep(key: tuple[Any, ...], way: Way) -> None:
    with lock:
        while len(_MET) >= _MOST_MET:
            del _MET[next(iter(_MET))]
        _MET[key] = way


def _computed(
    input: Array,
    terms: Terms,
    output: Any,
    nan: str | None,
    options: Options,
    key: tuple[Any, ...] | None,
) -> Array:
    """The sum of the terms. Complex arrays and weights are computed by their parts."""
    is_complex = input.dtype.kind == "c" or _any_complex(p.weights for t in terms for p in t)
    if input.dtype.kind != "c" and _any_complex(p.cval for t in terms for p in t):
        kind = ValueError if is_complex else TypeError
        raise kind("cval must be a real number where the input is real")
    made = output_of(output, input, is_complex, result_shape(input.shape, terms, options))
    if nan is not None:
        _nan.check(nan, is_complex)
        if input.dtype.kind == "f":
            _nan.normalized(input, terms, made, options)
            return made
    if not is_complex:
        way = filtered(input, terms, made, options)
        if key is not None and way is not None:
            _keep(key, way)
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
