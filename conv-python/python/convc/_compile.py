"""Compiled objects: a description and its machine code."""

from __future__ import annotations

import html
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import _native, _picture
from ._arrays import (
    DTYPES,
    Array,
    as_array,
    as_given,
    by_rows,
    check_out,
    check_shape,
    check_threads,
    dtype_of,
    held,
    is_held,
    needs_room,
    to_write,
    typed,
)

__all__ = ["Compiled", "Packed", "compile"]

#: Keywords of `compile` whose value is a clause: the clause's word.
_CLAUSES = {
    "batch": "n",
    "groups": "g",
    "in_channels": "ic",
    "out_channels": "oc",
    "input": "in",
    "kernel": "kernel",
    "stride": "stride",
    "dilation": "dilation",
    "padding": "pad",
    "padding_mode": "mode",
    "output_padding": "out_pad",
}

#: Keywords that are clauses of their own.
_FLAGS = ("flip", "ceil_mode", "count_include_pad")


def compile(
    text: str,
    /,
    *,
    weights: Any = None,
    threads: int = 1,
    accuracy: str = "exact",
    **words: Any,
) -> Compiled:
    """Compile a convolution, a pooling, or several in a row, to machine code.

    Parameters
    ----------
    text : str
        The text form, such as ``"conv2d ic3 oc64 in 224x224 kernel 7 stride 2 pad 3 + bias,
        relu"``. Steps of a chain are separated by ``;`` or a line's end; channels and sizes follow
        from step to step. A size in capitals (``in HxW``) is given by the input of each call.
    weights : array_like or list of (weight, bias), optional
        Weights that are compiled in: an array for a program of one step, else a list of a pair for
        each step, whose bias may be ``None``. Numbers are rounded to the element type; taps of zero
        vanish from the code.
    threads : int
        The most threads of a call. Each gets work for longer than it takes to wake it.
    accuracy : {"exact", "fast", "within(1e-4)", "unfused"}
        ``"exact"``: one chain of fused multiply-adds for each output, the same bits on every CPU
        and with any number of threads. ``"fast"``: sums may be put together in another order, so
        that known windows of low rank (a Gaussian, a box) are two cheap ones, and large ones
        (from about 15 x 15) go through a Fourier transform: an output may then be off by some
        units of the largest input around it, not of itself, and the bits are still the same on
        every CPU. A result that is not finite is that of ``"exact"``. ``"within(1e-4)"``: the same
        where no output is off by more, relative to the largest input times the sum of the absolute
        weights. ``"unfused"``: products round as well.
    **words
        Where `text` is only a head such as ``"conv2d"`` or ``"conv_transpose1d"``: ``input``
        (sizes), ``kernel``, ``in_channels``, ``out_channels``, ``groups``, ``batch``, ``stride``,
        ``dilation``, ``padding``, ``padding_mode``, ``output_padding``, ``dtype`` (``"f32"``,
        ``"f32 x f16"`` or NumPy's), ``layout``, ``flip``, ``ceil_mode``, ``count_include_pad``,
        ``bias``, ``residual``, ``activation``, ``requantise`` (``"onnx scale 0.02 zero_point 3"``).
        One number stands for all axes; a padding may be a pair ``(before, after)`` for an axis.

    Returns
    -------
    Compiled

    Raises
    ------
    ValueError
        The text cannot be read, or breaks a rule: the compiler's sentence names the field, the
        value and the axis.

    Examples
    --------
    >>> import numpy as np, convc
    >>> c = convc.compile("conv2d ic3 oc8 in 32x32 kernel 3 pad 1 + bias, relu")
    >>> x, weight = np.ones((1, 3, 32, 32), "f4"), np.ones((8, 3, 3, 3), "f4")
    >>> c(x, weight, np.zeros(8, "f4")).shape
    (1, 8, 32, 32)
    >>> convc.compile("conv1d", input=8, kernel=3, padding=1).text
    'conv1d f32 n1 g1 ic1 oc1 in 8 kernel 3 pad 1:1'
    """
    if not isinstance(text, str):
        raise TypeError(f"text: a description such as 'conv1d in 8 kernel 3', but found {text!r}")
    if words:
        text = _text_of(text, words)
    return Compiled(text, _known(weights), threads, accuracy)


def _text_of(head: str, words: dict[str, Any]) -> str:
    if len(head.split()) != 1:
        raise ValueError(f"keywords stand behind a head such as 'conv2d', not behind {head!r}")
    clauses, added, last, scaled = [head], "", "", ""
    for word, value in words.items():
        if word in _CLAUSES:
            clauses.append(f"{_CLAUSES[word]} {_values(word, value)}")
        elif word == "dtype":
            clauses.append(_dtype_word(value))
        elif word == "layout":
            clauses.append(str(value))
        elif word in _FLAGS:
            clauses.extend([word] if _flag(word, value) else [])
        elif word in ("bias", "residual"):
            added += f" + {word}" if _flag(word, value) else ""
        elif word == "activation":
            last = f", {value}" if value else ""
        elif word == "requantise":
            scaled = f", requantise {value}" if value else ""
        else:
            known = ", ".join([*_CLAUSES, *_FLAGS, "dtype", "layout", "bias", "residual"])
            raise TypeError(
                f"compile() has no keyword {word!r}: it has {known}, activation, requantise"
            )
    for n, g in (("n ", "n"), ("g ", "g"), ("ic ", "ic"), ("oc ", "oc")):
        clauses = [c.replace(n, g, 1) if c.startswith(n) else c for c in clauses]
    return " ".join(clauses) + added + last + scaled


def _dtype_word(dtype: Any) -> str:
    """The compiler's word for a type of NumPy's; words of its own, such as ``"u8 x i8"``, as they
    are."""
    if isinstance(dtype, str) and (dtype in DTYPES.values() or len(dtype.split()) > 1):
        return dtype
    try:
        found = np.dtype(dtype)
    except TypeError:
        return str(dtype)
    if found.name not in DTYPES or not found.isnative:
        raise TypeError(f"dtype: {found.str}, but the types are {', '.join(DTYPES)}")
    return DTYPES[found.name]


def _flag(word: str, value: Any) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{word}: found {value!r}, expected True or False")
    return bool(value)


def _values(word: str, value: Any) -> str:
    """`2`, `2,1`, `0:1,2:2`, or a word as it is."""
    if isinstance(value, (tuple, list, np.ndarray)):
        return ",".join(
            ":".join(_one(word, w) for w in v) if isinstance(v, (tuple, list)) else _one(word, v)
            for v in value
        )
    return _one(word, value)


def _one(word: str, value: Any) -> str:
    if isinstance(value, str) and len(value.split()) == 1:
        return value
    try:
        return str(operator.index(value))
    except TypeError:
        raise TypeError(f"{word}: found {value!r}, expected whole numbers or a word") from None


_Known = list[tuple[Array | None, Array | None]]


def _known(weights: Any) -> _Known:
    if weights is None:
        return []
    pairs = isinstance(weights, list) and all(
        w is None or (isinstance(w, tuple) and len(w) == 2) for w in weights
    )
    steps = weights if pairs else [(weights, None)]
    return [(None, None) if step is None else (_f64(step[0]), _f64(step[1])) for step in steps]


def _f64(array: Any) -> Array | None:
    return None if array is None else np.array(as_array(array), np.float64, order="C")


class Compiled:
    """The machine code of a program. Made by `compile`.

    Calls from any number of threads run side by side: the interpreter's lock is released while
    code runs. A pickle of it is its description, which is compiled where it arrives.

    Attributes
    ----------
    text : str
        The description, everything said.
    dtype : numpy.dtype
        Type of the input; of all arrays unless the description says others.
    output_dtype : numpy.dtype
        Type of the output, and of a residual.
    input_shape : tuple
        Sizes, or names of those that are free.
    output_shape : tuple or None
        ``None`` where sizes are free.
    """

    __slots__ = (
        "_free",
        "_in",
        "_is_held",
        "_known",
        "_native",
        "_out",
        "_ready",
        "_said",
        "_steps",
        "dtype",
        "input_shape",
        "output_dtype",
        "output_shape",
        "text",
    )

    def __init__(self, text: str, known: _Known, threads: int, accuracy: str) -> None:
        self._native = _native.Program(text, known, check_threads(threads), accuracy)
        self._known, self._said = known, (threads, accuracy)
        self.text: str = self._native.text
        self.dtype, self.output_dtype = map(dtype_of, self._native.dtypes)
        self._is_held = is_held(self.dtype) and is_held(self.output_dtype)
        sizes = self._native.input()
        self.input_shape: tuple[int | str, ...] = tuple(name or size for name, size in sizes)
        free = [name for name, _ in sizes]
        self._free = free if any(free) else None
        self.output_shape: tuple[int, ...] | None = None
        if self._free is None:
            shapes = self._native.shapes([])
            self._in, self._out = tuple(shapes[0]), tuple(shapes[1])
            self.output_shape = self._out
        self._steps = self._native.steps()
        # Where nothing is left to pack.
        self._ready = None if self.weights else self._native.pack([(None, None)] * len(self._steps))

    @property
    def weights(self) -> list[tuple[str, tuple[int, ...]]]:
        """Names and shapes of the arrays that a call takes behind `x`, in order."""
        return [(name, shape) for name, shape, _ in self._asked()]

    def _asked(self) -> list[tuple[str, tuple[int, ...], str]]:
        asked: list[tuple[str, tuple[int, ...], str]] = []
        for at, (weight, bias, has_weight, has_bias, dtypes) in enumerate(self._steps, 1):
            of = f" of step {at}" if len(self._steps) > 1 else ""
            if not has_weight:
                asked.append((f"weight{of}", tuple(weight), dtypes[0]))
            if bias is not None and not has_bias:
                asked.append((f"bias{of}", (bias,), dtypes[1]))
        return asked

    def pack(self, *weights: Any) -> Packed:
        """Copy weights into the order of their use, once for many calls.

        Parameters
        ----------
        *weights : array_like
            The arrays that `weights` names, in order: the weight of each step,
            ``(out, in / groups, k..)`` (transposed: ``(in, out / groups, k..)``), and its bias
            ``(out,)`` where it adds one. What is compiled in is left out.

        Returns
        -------
        Packed

        Raises
        ------
        TypeError
            An array holds another type, or their number is not the one that is asked for.
        ValueError
            An array has another shape.
        """
        asked = self._asked()
        if len(asked) == len(weights) + 1 and asked[-1][0] == "bias":
            raise TypeError("bias is missing: the convolution adds one")
        if len(asked) != len(weights):
            names = ", ".join(name for name, *_ in asked) or "none"
            hint = " (say residual=.. for a residual)" if "residual" in self.text else ""
            raise TypeError(
                f"{len(weights)} arrays were given, but the program takes {names}{hint}"
            )
        arrays = iter(weights)
        wanted = iter(asked)

        def array(one: tuple[str, tuple[int, ...], str]) -> Array:
            name, shape, dtype = one
            given = by_rows(typed(name, next(arrays), dtype_of(dtype)))
            check_shape(name, given.shape, shape)
            return held(given)

        steps: list[tuple[Array | None, Array | None]] = []
        for _, bias, has_weight, has_bias, _ in self._steps:
            weight = None if has_weight else array(next(wanted))
            steps.append((weight, None if bias is None or has_bias else array(next(wanted))))
        return Packed(self, self._native.pack(steps))

    def __call__(
        self,
        x: Any,
        *weights: Any,
        out: Array | None = None,
        residual: Any = None,
        threads: int | None = None,
    ) -> Array:
        """Compute the output: ``pack(*weights)(x, ..)``.

        Parameters
        ----------
        x : array_like
            Of shape `input_shape` and type `dtype`; anything with ``__dlpack__`` on the CPU is
            read where it is, also a crop, planes or channels of a larger array. One whose rows are
            no rows in memory (transposed, reversed, every second column) is copied first.
        *weights : array_like
            As for `pack`.
        out : ndarray, optional
            Where the result goes, or another library's array on the CPU. It may overlap `x`.
        residual : array_like, optional
            Of the output's shape, where the description says ``+ residual``.
        threads : int, optional
            Into how many parts the work is cut, instead of what `compile` was told.

        Returns
        -------
        ndarray
            `out`, or a new array; of the library of `x`, where that is another.
        """
        if self._ready is None or weights:
            return self.pack(*weights)(x, out=out, residual=residual, threads=threads)
        return _computed(self, self._ready, x, out, residual, threads)

    def explain(self) -> str:
        """What was compiled and why: shapes, schedule, sizes, what each part costs."""
        return self._native.explain()

    def __reduce__(self) -> tuple[Callable[..., Compiled], tuple[Any, ...]]:
        return Compiled, (self.text, self._known, *self._said)

    def __repr__(self) -> str:
        return f"convc.compile({self.text!r})"

    def _repr_html_(self) -> str:
        return f"{_picture.windows(self.text)}<pre>{html.escape(self.text)}</pre>"


class Packed:
    """A compiled program with its weights. Made by `Compiled.pack`."""

    __slots__ = ("_native", "compiled")

    def __init__(self, compiled: Compiled, native: _native.Packed) -> None:
        self.compiled, self._native = compiled, native

    def __call__(
        self,
        x: Any,
        *,
        out: Array | None = None,
        residual: Any = None,
        threads: int | None = None,
    ) -> Array:
        """Compute the output. Arguments are those of `Compiled.__call__`."""
        return _computed(self.compiled, self._native, x, out, residual, threads)

    def __reduce__(self) -> Any:
        raise TypeError("packed weights are for this CPU: pickle `.compiled` and the weights")

    def __repr__(self) -> str:
        return f"<weights packed for {self.compiled!r}>"


def _computed(
    of: Compiled,
    native: _native.Packed,
    x: Any,
    out: Array | None,
    residual: Any,
    threads: int | None,
) -> Array:
    """The output of `native`, the code of `of` with its weights."""
    given = typed("x", x, of.dtype)
    if of._free is None:
        sizes, shape = None, of._out
        check_shape("x", given.shape, of._in)
    else:
        sizes, shape = _sizes(of, given)
    if residual is not None:
        residual = typed("residual", residual, of.output_dtype)
        check_shape("residual", residual.shape, shape)
    if threads is not None:
        check_threads(threads)
    to = None if out is None else check_out(to_write(out), shape, of.output_dtype)
    room = to
    if room is None or needs_room(room, given, residual):
        room = np.empty(shape, of.output_dtype)
    if of._is_held:
        native.run(given, room, residual, sizes, threads)
    else:
        beside = None if residual is None else held(residual)
        native.run(held(given), held(room), beside, sizes, threads)
    if out is None or to is None:
        return room if given is x else as_given(room, x)
    if room is not to:
        to[...] = room
    return out


def _sizes(of: Compiled, x: Array) -> tuple[Sequence[tuple[str, int]], tuple[int, ...]]:
    free = of._free or []
    if x.ndim != len(free):
        raise ValueError(f"x has {x.ndim} axes, but the convolution needs {len(free)}")
    sizes = [(name, size) for name, size in zip(free, x.shape) if name]
    needed, shape = of._native.shapes(sizes)
    check_shape("x", x.shape, tuple(needed))
    return sizes, tuple(shape)
