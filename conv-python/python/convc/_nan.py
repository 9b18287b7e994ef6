"""Elements that are NaN left out, and the weights of the rest scaled to the sum of all.

The sum over what is there is divided by the sum of the weights over what is there. Where nothing is
NaN that is the sum of all weights, and the result is the plain filter's to the bit. Beyond the
border nothing is missing: what the mode reads there counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ._arrays import Array
from ._filter import Options, Pass, filtered


def check(nan: str, is_complex: bool) -> None:
    """Raises `ValueError` for a word that is not known, and for complex numbers."""
    if nan != "normalize":
        raise ValueError(f"nan: found {nan!r}, expected None or 'normalize'")
    if is_complex:
        raise ValueError("nan='normalize' is for real numbers")


def normalized(x: Array, terms: Sequence[Sequence[Pass]], output: Array, options: Options) -> None:
    """As `filtered`, of one term."""
    passes = [step.scaled() for step in terms[0]]
    work = output.dtype if output.dtype.kind == "f" else np.dtype(np.float64)
    made = _of_ones(passes, x.dtype, work, options._replace(goes_on=()))
    total = made[-1]
    if total == 0.0 or not np.isfinite(total):
        raise ValueError(
            f"nan='normalize' divides by the sum of the weights, which is {total}: give other ones"
        )
    missing = np.isnan(x)
    if not missing.any():
        filtered(x, terms, output, options)
        return
    sums, weight = np.empty(output.shape, work), np.empty(output.shape, work)
    filtered(np.where(missing, x.dtype.type(0), x), [passes], sums, options)
    presence = [
        replace(step, cval=beyond) if step.mode == "constant" else step
        for step, beyond in zip(passes, made)
    ]
    filtered((~missing).astype(x.dtype), [presence], weight, options)
    with np.errstate(divide="ignore", invalid="ignore"):
        sums *= total / weight
    sums[weight == 0.0] = np.nan
    output[...] = sums


def _of_ones(
    passes: Sequence[Pass], dtype: np.dtype[Any], work: np.dtype[Any], options: Options
) -> list[float]:
    """What the passes make of ones: before the first, behind it, .., behind the last. Summed by the
    filter itself: where nothing is missing the quotient is 1 to the bit."""
    made = [1.0]
    one = np.ones((1,) * passes[0].weights.ndim if passes else (), dtype)
    for at in range(len(passes)):
        filled = [replace(step, mode="replicate") for step in passes[: at + 1]]
        sum_ = np.empty(one.shape, work)
        filtered(one, [filled], sum_, options)
        made.append(float(sum_.reshape(-1)[0]))
    return made
