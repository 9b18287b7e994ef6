"""How fast windows on a 1080p picture of bytes are beside OpenCV: one thread, in turns, minima.

    cargo build --release -p conv-jit --example windows
    python examples/python/windows.py [grey|pixels] [--binary target/release/examples/windows]

OpenCV's time is the smaller one of filter2D and, where the window is of rank one, sepFilter2D. A
ratio is its time over ours: above 1 ours is faster. The last column counts bytes that differ: a
window whose divisor is no power of two is rounded twice by OpenCV.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

Columns = list[int]

PHOTO = Path(__file__).parents[2] / "docs" / "astronaut.png"
BINOMIAL_5 = [1, 4, 6, 4, 1]
GAUSSIAN_15 = [1, 1, 2, 3, 5, 6, 7, 9, 7, 6, 5, 3, 2, 1, 1]


def outer(column: Columns, row: Columns) -> tuple[Any, Columns, Columns]:
    return np.outer(column, row), column, row


def alone(*rows: Columns) -> tuple[Any, None, None]:
    return np.array(rows), None, None


# A name, the window with its column and row where it has them, and the divisor.
WINDOWS = [
    ("sobel-x", outer([1, 2, 1], [-1, 0, 1]), 1),
    ("sobel-y", outer([-1, 0, 1], [1, 2, 1]), 1),
    ("scharr", outer([3, 10, 3], [-1, 0, 1]), 1),
    ("laplacian-3", alone([0, 1, 0], [1, -4, 1], [0, 1, 0]), 1),
    (
        "laplacian-5",
        alone(
            [0, 0, -1, 0, 0],
            [0, -1, -2, -1, 0],
            [-1, -2, 16, -2, -1],
            [0, -1, -2, -1, 0],
            [0, 0, -1, 0, 0],
        ),
        1,
    ),
    ("sharpen", alone([0, -1, 0], [-1, 5, -1], [0, -1, 0]), 1),
    ("emboss", alone([-2, -1, 0], [-1, 1, 1], [0, 1, 2]), 1),
    ("gaussian-3", outer([1, 2, 1], [1, 2, 1]), 16),
    ("gaussian-5", outer(BINOMIAL_5, BINOMIAL_5), 256),
    ("gaussian-15", outer(GAUSSIAN_15, GAUSSIAN_15), 59 * 59),
    ("box-5", outer([1] * 5, [1] * 5), 25),
    ("mine-7", alone(*[[(3 * (7 * y + x)) % 17 - 8 for x in range(7)] for y in range(7)]), 1),
]


def least(call: Callable[[], Any], seconds: float) -> float:
    """The least time of a call, repeated for so long."""
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return 1e3 * best


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("colours", nargs="?", choices=["grey", "pixels"], default="grey")
    parser.add_argument("--binary", default="target/release/examples/windows")
    parser.add_argument("--turns", type=int, default=3)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    photo = cv2.imread(str(PHOTO), cv2.IMREAD_GRAYSCALE if args.colours == "grey" else 1)
    photo = np.ascontiguousarray(cv2.resize(photo, (1920, 1080), interpolation=cv2.INTER_CUBIC))
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        picture, result = Path(folder, "picture.raw"), Path(folder, "result.raw")
        photo.tofile(picture)
        print(f"{'window':12} {'ours ms':>8} {'cv2 ms':>8} {'ratio':>6} {'differ':>8}")
        for name, (window, column, row), divisor in WINDOWS:
            kernel, edge = (window / divisor).astype(np.float32), cv2.BORDER_REPLICATE
            ways = [partial(cv2.filter2D, photo, -1, kernel, borderType=edge)]
            if column is not None and row is not None:
                x = np.array(row, np.float32) / divisor**0.5
                y = np.array(column, np.float32) / divisor**0.5
                ways.append(partial(cv2.sepFilter2D, photo, -1, x, y, borderType=edge))
            ours, theirs = float("inf"), float("inf")
            for _ in range(args.turns):
                words = [args.binary, args.colours, name, picture, result]
                said = subprocess.run(words, capture_output=True, text=True, check=True)
                ours = min(ours, json.loads(said.stdout)["ms"])
                theirs = min([theirs] + [least(way, 0.03) for way in ways])
            made = np.fromfile(result, np.uint8).reshape(photo.shape)
            differ = int((made != ways[0]()).sum())
            ratios.append(theirs / ours)
            print(f"{name:12} {ours:8.3f} {theirs:8.3f} {ratios[-1]:6.2f} {differ:8}")
    print(f"geometric mean {np.exp(np.mean(np.log(ratios))):.2f}, worst {min(ratios):.2f}")


if __name__ == "__main__":
    main()
