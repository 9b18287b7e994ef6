"""A pass whose border is folded, as an inside and its edges.

Code that folds a border copies every row with it, which costs a small window as much as its sums.
Zeros around cost nothing. So the whole is computed with zeros around, and what sees the border once
more: slabs, a few elements deep. The sums of each output are in the same order, so the bits are
those of one piece.

```text
. . . . . .      zeros around, all of it; then along each axis two slabs, folded,
. # # # # .      whose inner outputs are thrown away
. # # # # .
. . . . . .
```
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from ._arrays import Array

#: Modes of which a slab at one side needs nothing from the other.
_ONE_SIDED = ("reflect", "symmetric", "replicate")

#: Taps beyond which rows with their border are a small part of the work.
_MOST_TAPS = 25

#: Elements of a picture from which on slabs of columns, whose rows are short, are a small part of
#: the work. For 3 x 3 it was 1.0 of one piece's time at 512 x 512, 0.6 at 1080 x 1920 and 0.55 at
#: 2048 x 2048; for 5 x 5 it was 1.4, 0.75 and 0.7 (Zen 5). Volumes have too many short rows.
_LEAST_SIZE = 1 << 20


def worth_it(
    shape: tuple[int, ...], kernel: tuple[int, ...], pads: tuple[tuple[int, int], ...], mode: str
) -> bool:
    """Whether a pass over an array of this shape is faster so."""
    if mode not in _ONE_SIDED or len(shape) != 2 or pads[1] == (0, 0):
        return False
    least = min(shape) >= 8 * (max(kernel) + 2 * max(max(sides) for sides in pads))
    return least and prod(kernel) <= _MOST_TAPS and prod(shape) >= _LEAST_SIZE


def slabs(
    x: Array, kernel: tuple[int, ...], pads: tuple[tuple[int, int], ...]
) -> Iterator[tuple[Array, tuple[slice, ...], tuple[slice, ...]]]:
    """Of each side: the elements to filter, which outputs of theirs are wanted, and where those are
    in the whole."""
    for axis, (before, behind) in enumerate(pads):
        depth = 2 * max(before, behind) + kernel[axis]
        for outputs, is_first in ((before, True), (behind, False)):
            if outputs == 0:
                continue
            ends = slice(0, depth) if is_first else slice(-depth, None)
            wanted = slice(0, outputs) if is_first else slice(-outputs, None)
            others = (slice(None),) * axis
            yield x[(*others, ends)], (*others, wanted), (*others, wanted)
