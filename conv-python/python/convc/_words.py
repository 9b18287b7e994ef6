"""What the docstrings of filters share."""

from __future__ import annotations

import textwrap

_WORDS = {
    "input": """\
input : array_like
    Of any real or complex type but float16 and longdouble.""",
    "output": """\
output : ndarray or dtype, optional
    Where the result goes, or its type. The input's type unless said.""",
    "modes": """\
mode : {"reflect", "constant", "nearest", "mirror", "wrap"}
    What lies beyond the border: the array mirrored with its edge repeated, `cval`, the edge,
    the array mirrored at its edge, or the other end. Folded as often as needed. A list has one
    for each axis.
cval : float
    The value of mode "constant".""",
    "mode": """\
mode : {"reflect", "constant", "nearest", "mirror", "wrap"}
    What lies beyond the border: the array mirrored with its edge repeated, `cval`, the edge,
    the array mirrored at its edge, or the other end. Folded as often as needed.
cval : float
    The value of mode "constant".""",
    "axes": """\
axes : int or tuple of int, optional
    The axes that are filtered. All unless said.""",
    "nan": """\
nan : {None, "normalize"}
    "normalize" leaves out elements that are NaN: the weights of the rest are scaled to the sum
    of all.""",
    "said": """\
threads : int
    The most threads of the call.
accuracy : {"exact", "fast", "within(1e-4)", "unfused"}
    As for `convc.compile`.""",
    "result": """\
Returns
-------
ndarray
    Of the input's shape.""",
    "raises": """\
Raises
------
RuntimeError
    A mode, a shape or a type is none that is known, as SciPy raises.
ValueError
    An origin moves the window too far, or axes are none of the array's.""",
}


def filled(doc: str) -> str:
    """A docstring with its ``%(word)s`` filled in."""
    shared = {word: textwrap.indent(text, "    ").strip() for word, text in _WORDS.items()}
    for word in ("result", "raises"):
        shared[word] = f"\n    {shared[word]}"
    return doc % shared
