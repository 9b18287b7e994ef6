"""The number of an input that stands for 0."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from . import _native
from ._arrays import Array, as_array, by_rows, typed

__all__ = ["without_zero_point"]


def without_zero_point(text: str, zero: int, weight: Any, bias: Any = None) -> tuple[str, Array]:
    """Take the zero point of an input of integers into padding and bias.

    The sums of ``(x - zero) * weight``, padded with 0, are those of ``x * weight``, padded with
    ``zero``, less ``zero`` times the sum of the weights. So bytes are read as they are.

    Parameters
    ----------
    text : str
        A convolution of integers in the text form, as if the input had no zero point.
    zero : int
        The number of the input's type that stands for 0.
    weight : array_like
        Of the convolution's shape and type.
    bias : array_like of int32, optional
        One number for each output channel, where one is added.

    Returns
    -------
    text : str
        For `compile`.
    bias : ndarray of int32
        For its calls, beside the same weight.

    Raises
    ------
    ValueError
        Sums are not of integers, or the zero point is no number of the input's type, or the
        convolution is transposed.
    TypeError
        An array holds another type.

    Examples
    --------
    >>> import numpy as np, convc
    >>> weight = np.array([[[1, 2, 3]]], "i1")
    >>> text, bias = convc.without_zero_point("conv1d u8 x i8 in 3 kernel 3 pad 1", 128, weight)
    >>> convc.compile(text)(np.array([[[128, 129, 127]]], "u1"), weight, bias)
    array([[[ 3, -1, -1]]], dtype=int32)
    """
    zero = operator.index(zero)
    if not -(2**31) <= zero < 2**31:
        raise ValueError(f"zero point: {zero} is no number of the input's type")
    given = None if bias is None else typed("bias", by_rows(as_array(bias)), np.dtype(np.int32))
    return _native.without_zero_point(text, zero, by_rows(as_array(weight)), given)
