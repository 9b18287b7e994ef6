"""Passes of a filter as a program: from windows and borders to the compiler's text and back.

A filter is a sum of *terms*, each one or more passes, one after the other. A pass has a window with
as many axes as the array, and what its border reads. Axes without a window are one: they come
together with their neighbours, so that any number of axes becomes at most eight.

Code is kept by shape and description for the last 256 of them. Weights are compiled in where that
is faster: windows of few taps, and those with taps of zero, which vanish. Others are packed when
they come, so that new weights need no new code.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from math import isfinite, prod
from typing import Any, NamedTuple

import numpy as np

from . import _edges, _native
from ._arrays import Array, aligned, by_rows, check_threads, needs_room
from ._store import store

#: Taps of a dense pass that are compiled in at most: 5 x 5 are as fast as packed ones or faster,
#: 7 x 7 are slower where a border is folded, and from 9 x 9 on it is equal.
FEW_TAPS = 25

#: Taps of a pass that are compiled in at most, for those of zero to vanish, or for two passes to be
#: found in a window.
MOST_TAPS = 1024

#: Each of SciPy's modes as the compiler's.
MODES = {
    "reflect": "symmetric",
    "grid-mirror": "symmetric",
    "mirror": "reflect",
    "nearest": "replicate",
    "wrap": "circular",
    "grid-wrap": "circular",
    "constant": "constant",
    "grid-constant": "constant",
}

#: The compiler's modes as `numpy.pad` calls them.
NUMPY_MODES: dict[str, Any] = {
    "symmetric": "symmetric",
    "reflect": "reflect",
    "replicate": "edge",
    "circular": "wrap",
    "constant": "constant",
}

_Pads = tuple[tuple[int, int], ...]


@dataclass(frozen=True, eq=False)
class Pass:
    """One pass: correlation with a window."""

    #: As many axes as the array; float64.
    weights: Array
    #: Elements beyond the border that are read, before and behind, for each axis.
    pads: _Pads
    #: The compiler's word.
    mode: str
    #: What ``constant`` reads; complex until a complex array is taken apart.
    cval: Any = 0.0
    #: Of a mean: whole numbers are summed first and divided then, so that nothing rounds twice.
    divisor: float = 1.0

    def scaled(self) -> Pass:
        """The same with the divisor in its weights."""
        if self.divisor == 1.0:
            return self
        return replace(self, weights=self.weights / self.divisor, divisor=1.0)


class Options(NamedTuple):
    """How a filter is computed."""

    accuracy: str = "exact"
    threads: int = 1
    #: Of a block of an array: for each axis whether the array goes on before and behind. What it
    #: has there comes with the block, and no border is read.
    goes_on: tuple[tuple[bool, bool], ...] = ()


def options(accuracy: str, threads: int, goes_on: tuple[tuple[bool, bool], ...] = ()) -> Options:
    """Checked: the accuracy is when something is compiled."""
    return Options(accuracy, check_threads(threads), goes_on)


def exact(options: Options) -> Options:
    """For whole numbers: what is off by a little is cut to another one."""
    return options if options.accuracy == "unfused" else options._replace(accuracy="exact")


class _Key(NamedTuple):
    """What code depends on, of a pass. No weights where they come later."""

    kernel: tuple[int, ...]
    pads: _Pads
    mode: str
    weights: bytes | None


@lru_cache(maxsize=256)
def _code(
    shape: tuple[int, ...], dtype: str, passes: tuple[_Key, ...], options: Options
) -> tuple[
    _native.Program,
    _native.Packed | None,
    tuple[int, ...],
    tuple[Sequence[int], Sequence[int]],
]:
    """The program, its weights where all are compiled in, the output's shape, and the shapes of
    input and output with the program's axes."""
    batch, axes = merged(shape, passes)
    lines = []
    for step in passes:
        kernel = "x".join(str(prod(step.kernel[a] for a in axis)) for axis in axes)
        pads = ",".join("{}:{}".format(*_pad(step, axis)) for axis in axes)
        lines.append(f"conv{len(axes)}d kernel {kernel} pad {pads} mode {step.mode}")
    sizes = "x".join(str(prod(shape[a] for a in axis)) for axis in axes)
    lines[0] += f" {dtype} n{batch} in {sizes}"
    known: list[tuple[Array | None, Array | None]] = [
        (None if step.weights is None else np.frombuffer(step.weights), None) for step in passes
    ]
    program = _native.Program("\n".join(lines), known, options.threads, options.accuracy)
    packed = None
    if all(weights is not None for weights, _ in known):
        packed = program.pack([(None, None)] * len(passes))
    grown = list(shape)
    for step in passes:
        grown = [n + sum(p) - k + 1 for n, p, k in zip(grown, step.pads, step.kernel)]
    return program, packed, tuple(grown), program.shapes([])


def _pad(step: _Key, axis: Sequence[int]) -> tuple[int, int]:
    return step.pads[axis[0]] if len(axis) == 1 else (0, 0)


def merged(shape: tuple[int, ...], passes: Sequence[_Key]) -> tuple[int, list[tuple[int, ...]]]:
    """A batch, and the array's axes as groups that are one axis of the convolution each.

    >>> step = _Key((1, 1, 3, 1, 1), ((0, 0),) * 5, "zeros", None)
    >>> merged((2, 3, 4, 5, 6), [step])
    (6, [(2,), (3, 4)])
    """
    groups: list[tuple[int, ...]] = []
    last_is_plain = False
    for axis in range(len(shape)):
        plain = all(step.kernel[axis] == 1 and step.pads[axis] == (0, 0) for step in passes)
        if plain and last_is_plain:
            groups[-1] += (axis,)
        else:
            groups.append((axis,))
        last_is_plain = plain
    first = groups[0] if groups else ()
    is_batch = len(groups) > 1 and all(
        step.kernel[a] == 1 and step.pads[a] == (0, 0) for step in passes for a in first
    )
    batch = prod(shape[a] for a in first) if is_batch else 1
    groups = groups[1:] if is_batch else groups
    if len(groups) > 8:
        raise ValueError(f"{len(groups)} axes are left of the filter, but there must be 1 to 8")
    return batch, groups


#: How passes are computed: of an array, into an array where one is given.
Way = Callable[[Array, "Array | None"], Array]


@dataclass(frozen=True)
class Run:
    """One run of a program."""

    packed: _native.Packed
    shape: tuple[int, ...]
    #: Of input and output, with the program's axes.
    axes: tuple[Sequence[int], Sequence[int]]

    def __call__(self, x: Array, into: Array | None = None) -> Array:
        if into is None:
            into = np.empty(self.shape, x.dtype)
        if x.flags.c_contiguous and into.flags.c_contiguous:
            self.packed.run(x, into)
            return into
        # Axes that do not come together in memory are copied by `reshape`.
        there = into.reshape(self.axes[1])
        self.packed.run(x.reshape(self.axes[0]), there)
        if not np.may_share_memory(there, into):
            into[...] = there.reshape(self.shape)
        return into


def convolved(x: Array, passes: Sequence[Pass], options: Options) -> Array:
    """The passes one after the other, of an array that is float32 or float64 and not empty."""
    return way(x.shape, x.dtype, passes, options)(x, None)


def way(
    shape: tuple[int, ...], dtype: np.dtype[Any], passes: Sequence[Pass], options: Options
) -> Way:
    """How the passes are computed, of arrays of this shape and type."""
    if any(step.mode == "constant" and not _fits(step.cval, dtype) for step in passes):
        return partial(_one_by_one, passes, options)
    keys = tuple(_key(step, dtype, options.accuracy) for step in passes)
    if len(keys) == 1 and _edges.worth_it(shape, *keys[0][:3]):
        return partial(_inside_and_edges, passes[0], options)
    return _run(shape, dtype, passes, keys, options)


def _run(
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    passes: Sequence[Pass],
    keys: tuple[_Key, ...],
    options: Options,
) -> Run:
    """All of it in one run, weights packed."""
    name = "f32" if dtype == np.float32 else "f64"
    program, packed, out_shape, axes = _code(shape or (1,), name, keys, options)
    if packed is None:
        later = [
            None if key.weights is not None else by_rows(step.weights.astype(dtype, copy=False))
            for step, key in zip(passes, keys)
        ]
        packed = program.pack([(weight, None) for weight in later])
    return Run(packed, out_shape if shape else (), axes)


def _inside_and_edges(step: Pass, options: Options, x: Array, into: Array | None) -> Array:
    def run(of: Array, step: Pass) -> Run:
        key = _key(step, x.dtype, options.accuracy)
        return _run(of.shape, x.dtype, [step], (key,), options)

    result = run(x, replace(step, mode="zeros"))(x, into)
    kernel = step.weights.shape
    for part, wanted, place in _edges.slabs(x, kernel, step.pads):
        result[place] = run(part, step)(by_rows(part))[wanted]
    return result


def _one_by_one(passes: Sequence[Pass], options: Options, x: Array, into: Array | None) -> Array:
    """Where a border reads what no text can say: an infinite or NaN constant."""
    for step in passes:
        if step.mode == "constant" and not _fits(step.cval, x.dtype):
            with np.errstate(over="ignore"):
                x = np.pad(x, step.pads, constant_values=step.cval)
            step = replace(step, pads=((0, 0),) * x.ndim, mode="zeros")
        x = convolved(x, [step], options)
    return x


def _fits(value: float, dtype: np.dtype[Any]) -> bool:
    """Whether the value is finite in this type."""
    return isfinite(value) and abs(value) <= float(np.finfo(dtype).max)


def _key(step: Pass, dtype: np.dtype[Any], accuracy: str) -> _Key:
    weights, mode = step.weights, step.mode
    if mode == "constant":
        mode = f"constant({step.cval!r})" if step.cval else "zeros"
    known = weights.tobytes() if _is_known(weights, dtype, accuracy) else None
    return _Key(weights.shape or (1,), step.pads or ((0, 0),), mode, known)


def _is_known(weights: Array, dtype: np.dtype[Any], accuracy: str) -> bool:
    """Whether the weights are compiled in. Those that are not finite cannot be."""
    if weights.size > MOST_TAPS:
        return False
    if weights.size > FEW_TAPS and accuracy in ("exact", "unfused"):
        zeros = weights.size - int(np.count_nonzero(weights))
        if 4 * zeros < weights.size:
            return False
    return _fits(float(np.abs(weights).max()), dtype)


def halo(terms: Sequence[Sequence[Pass]], ndim: int) -> _Pads:
    """Elements before and behind an output that it depends on, for each axis."""
    sides = [[(0, 0)] for _ in range(ndim)]
    for passes in terms:
        for axis in range(ndim):
            before, behind = (sum(step.pads[axis][side] for step in passes) for side in (0, 1))
            sides[axis].append((before, behind))
    return tuple((max(b for b, _ in s), max(b for _, b in s)) for s in sides)


def supported(array: Array) -> None:
    """Raises `RuntimeError`, as SciPy does, where an element type is none of ours."""
    dtype = array.dtype
    if dtype.kind not in "biuf" or (dtype.kind == "f" and dtype.itemsize not in (4, 8)):
        raise RuntimeError(f"array type {dtype!r} not supported")


def filtered(
    x: Array, terms: Sequence[Sequence[Pass]], output: Array, options: Options
) -> Way | None:
    """Writes the sum of the terms to `output`, an array of the result's shape. Both are real.
    Returns how, where that is all there is to do with arrays of this shape and type."""
    supported(x)
    supported(output)
    if not output.flags.writeable:
        raise ValueError("output array is read-only.")
    if output.size == 0:
        return None
    if output.dtype.kind != "f":
        options = exact(options)
    if not terms or len(terms) == 1 and not terms[0]:
        output[...] = x
    elif output.dtype.kind == "f":
        scaled = [[step.scaled() for step in passes] for passes in terms]
        return _sum(x, joined(scaled), output, options)
    elif len(terms) == len(terms[0]) == 1:
        _sum(x, terms, output, options)
    else:
        _whole_numbers(x, terms, output, options)
    return None


def joined(terms: Sequence[Sequence[Pass]]) -> Sequence[Sequence[Pass]]:
    """Terms of one pass each with one border as one window: taps of zero cost nothing."""
    passes = [step for steps in terms for step in steps]
    borders = {(step.mode, step.cval) for step in passes}
    if len(terms) < 2 or len(passes) != len(terms) or len(borders) != 1:
        return terms
    before, behind = (
        [max(step.pads[axis][side] for step in passes) for axis in range(passes[0].weights.ndim)]
        for side in (0, 1)
    )
    weights = np.zeros([b + a + 1 for b, a in zip(before, behind)])
    if weights.size > MOST_TAPS:
        return terms
    for step in passes:
        starts = [b - pads[0] for b, pads in zip(before, step.pads)]
        place = tuple(slice(s, s + n) for s, n in zip(starts, step.weights.shape))
        weights[place] += step.weights
    return [[replace(passes[0], weights=weights, pads=tuple(zip(before, behind)))]]


def _sum(x: Array, terms: Sequence[Sequence[Pass]], output: Array, options: Options) -> Way | None:
    work = _work_type(x, terms, output)
    blocks = _of_block(np.asarray(x, work), terms, options)
    if options.goes_on:
        blocks = [_bordered(*block) for block in blocks]
    (source, passes), *others = blocks
    direct = output.dtype == work and len(terms) == 1 and not needs_room(output, x)
    first = way(source.shape, work, passes, options)
    result = first(aligned(source), output if direct else None)
    for other, passes in others:
        result += convolved(aligned(other), passes, options)
    divisor = terms[0][0].divisor
    if divisor != 1.0:
        result /= divisor
    if result is not output:
        store(result, output)
    is_all = len(terms) == 1 and divisor == 1.0 and source.shape == x.shape
    return first if is_all and x.dtype == output.dtype == work else None


def _of_block(
    x: Array, terms: Sequence[Sequence[Pass]], options: Options
) -> list[tuple[Array, Sequence[Pass]]]:
    """Of each term the elements that it reads, of those that come with a block, and its passes
    without a border where the array goes on."""
    if not options.goes_on:
        return [(x, passes) for passes in terms]
    reach = halo(terms, x.ndim)
    made: list[tuple[Array, Sequence[Pass]]] = []
    for passes in terms:
        ends = zip(x.shape, reach, halo([passes], x.ndim), options.goes_on)
        cut = tuple(
            slice((all_[0] - own[0]) * on[0], n - (all_[1] - own[1]) * on[1])
            for n, all_, own, on in ends
        )
        made.append((x[cut], [_without_border(step, options) for step in passes]))
    return made


def _bordered(x: Array, passes: Sequence[Pass]) -> tuple[Array, Sequence[Pass]]:
    """One pass over a block at the edge of its array: with its border, so that it is computed as an
    inner one. Code that folds along some axes alone is large, and takes long to make."""
    step = passes[0]
    is_zero = step.mode == "constant" and not step.cval
    is_inner = not any(map(any, step.pads))
    if len(passes) > 1 or is_inner or is_zero or not _fits(step.cval, x.dtype):
        return x, passes
    said = {"constant_values": step.cval} if step.mode == "constant" else {}
    x = np.pad(x, step.pads, NUMPY_MODES[step.mode], **said)
    return x, [replace(step, pads=((0, 0),) * x.ndim, mode="zeros")]


def _without_border(step: Pass, options: Options) -> Pass:
    sides = zip(step.pads, options.goes_on)
    pads = tuple((0 if on[0] else p[0], 0 if on[1] else p[1]) for p, on in sides)
    return replace(step, pads=pads)


def result_shape(
    shape: tuple[int, ...], terms: Sequence[Sequence[Pass]], options: Options
) -> tuple[int, ...]:
    """Of an array of this shape, or of the block of one that comes with what it sees."""
    if not options.goes_on:
        return shape
    sides = zip(shape, halo(terms, len(shape)), options.goes_on)
    return tuple(n - seen[0] * on[0] - seen[1] * on[1] for n, seen, on in sides)


def _whole_numbers(
    x: Array, terms: Sequence[Sequence[Pass]], output: Array, options: Options
) -> None:
    """Of several passes each is cut to whole numbers before the next, as SciPy's are."""
    total = None
    for (value, _), passes in zip(_of_block(x, terms, options), terms):
        for step in passes:
            made = np.empty(result_shape(value.shape, [[step]], options), output.dtype)
            _sum(value, [[step]], made, options)
            value = made
        total = value.astype(output.dtype) if total is None else total + value
    output[...] = total


def _work_type(x: Array, terms: Sequence[Sequence[Pass]], output: Array) -> np.dtype[Any]:
    """float32 where input and output are and weights fit, or where whole numbers are summed without
    rounding."""
    if x.dtype.kind == "f" and x.dtype.itemsize == output.dtype.itemsize == 4:
        fit = all(_fit_float32(step) for passes in terms for step in passes)
        return np.dtype(np.float32 if fit else np.float64)
    if x.dtype.kind in "biu" and x.dtype.itemsize <= 2 and len(terms) == len(terms[0]) == 1:
        step = terms[0][0]
        weights = np.abs(step.weights)
        largest = 1 << (8 * x.dtype.itemsize)
        whole = bool((weights == np.floor(weights)).all()) and step.cval == int_or_nan(step.cval)
        if whole and weights.sum() * max(largest, abs(step.cval)) <= 1 << 24:
            return np.dtype(np.float32)
    return np.dtype(np.float64)


def _fit_float32(step: Pass) -> bool:
    largest = float(np.abs(step.weights).max())
    return not isfinite(largest) or _fits(largest, np.dtype(np.float32))


def int_or_nan(value: float) -> float:
    """The value cut to a whole number; NaN where there is none."""
    return float(int(value)) if isfinite(value) else float("nan")
