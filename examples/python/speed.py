"""How fast the filters are beside scipy.ndimage and OpenCV: one thread, in turns, minima.

    python examples/python/speed.py [--time SECONDS]

A ratio is the peer's time over ours: above 1 ours is faster. OpenCV is left out where it is not
installed.
"""

from __future__ import annotations

import argparse
import platform
import time
import timeit
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.ndimage as scipy

import convc

try:
    import cv2

    cv2.setNumThreads(1)
except ImportError:
    cv2 = None

Case = tuple[str, Callable[[], Any], Callable[[], Any]]


def cpu() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            words = dict(line.split(":", 1) for line in file.read().split("\n\n")[0].splitlines())
    except OSError:
        return platform.processor()
    name = {word.strip(): value.strip() for word, value in words.items()}
    return f"{name.get('model name')}, family {name.get('cpu family')}, model {name.get('model')}"


def turns(
    ours: Callable[[], Any], theirs: Callable[[], Any], seconds: float
) -> tuple[float, float]:
    """The least time of each, called in turns for so long; three turns at least."""
    ours(), theirs()
    least = [float("inf"), float("inf")]
    end, turn = time.perf_counter() + seconds, 0
    while turn < 3 or time.perf_counter() < end:
        for at, call in enumerate((ours, theirs)):
            start = time.perf_counter()
            call()
            least[at] = min(least[at], time.perf_counter() - start)
        turn += 1
    return least[0], least[1]


def random(*shape: int) -> Any:
    return np.random.default_rng(0).random(shape, dtype="f4")


def dense() -> list[Case]:
    """scipy.ndimage.convolve: ten sizes and windows."""
    cases = []
    for shape, window in (
        ((512, 512), (3, 3)),
        ((2048, 2048), (3, 3)),
        ((1080, 1920), (5, 5)),
        ((2048, 2048), (5, 5)),
        ((1024, 1024), (7, 7)),
        ((512, 512), (15, 15)),
        ((1024, 1024), (15, 15)),
        ((128, 128, 128), (3, 3, 3)),
        ((96, 96, 96), (5, 5, 5)),
        ((1 << 20,), (65,)),
    ):
        x, w = random(*shape), random(*window).astype("f8")
        name = f"{'x'.join(map(str, window))} on {'x'.join(map(str, shape))}"
        cases.append(
            (name, lambda x=x, w=w: convc.convolve(x, w), lambda x=x, w=w: scipy.convolve(x, w))
        )
    return cases


def gaussians() -> list[Case]:
    """scipy.ndimage.gaussian_filter, exact."""
    cases = []
    for shape, sigma in (
        ((512, 512), 1.0),
        ((2048, 2048), 1.0),
        ((2048, 2048), 3.0),
        ((1080, 1920), 8.0),
        ((128, 128, 128), 1.0),
        ((128, 128, 128), 2.5),
    ):
        x = random(*shape)
        name = f"sigma {sigma} on {'x'.join(map(str, shape))}"
        cases.append(
            (
                name,
                lambda x=x, s=sigma: convc.gaussian_filter(x, s),
                lambda x=x, s=sigma: scipy.gaussian_filter(x, s),
            )
        )
    return cases


def others() -> list[Case]:
    """The rest of scipy.ndimage, on 2048x2048."""
    x, double = random(2048, 2048), random(2048, 2048).astype("f8")
    u8 = (random(2048, 2048) * 255).astype("u1")
    box = np.ones((3, 3))
    return [
        ("sobel", lambda: convc.sobel(x), lambda: scipy.sobel(x)),
        ("laplace", lambda: convc.laplace(x), lambda: scipy.laplace(x)),
        (
            "uniform_filter 3",
            lambda: convc.uniform_filter(x, 3),
            lambda: scipy.uniform_filter(x, 3),
        ),
        (
            "uniform_filter 31",
            lambda: convc.uniform_filter(x, 31),
            lambda: scipy.uniform_filter(x, 31),
        ),
        (
            "gaussian_laplace 2",
            lambda: convc.gaussian_laplace(x, 2),
            lambda: scipy.gaussian_laplace(x, 2),
        ),
        (
            "correlate1d 9, axis 0",
            lambda: convc.correlate1d(x, np.ones(9), 0),
            lambda: scipy.correlate1d(x, np.ones(9), 0),
        ),
        (
            "correlate1d 9, axis 1",
            lambda: convc.correlate1d(x, np.ones(9), 1),
            lambda: scipy.correlate1d(x, np.ones(9), 1),
        ),
        ("convolve 3x3, uint8", lambda: convc.convolve(u8, box), lambda: scipy.convolve(u8, box)),
        (
            "gaussian 2, uint8",
            lambda: convc.gaussian_filter(u8, 2),
            lambda: scipy.gaussian_filter(u8, 2),
        ),
        (
            "gaussian 2, float64",
            lambda: convc.gaussian_filter(double, 2),
            lambda: scipy.gaussian_filter(double, 2),
        ),
    ]


def opencv() -> list[Case]:
    """OpenCV's filter2D (from 13x13 on an FFT) and sepFilter2D, into an array that is there, border
    reflect-101."""
    cases: list[Case] = []
    x = random(1080, 1920)
    ours, theirs = np.empty_like(x), np.empty_like(x)
    for size in (3, 5, 7, 9, 11, 15, 21, 31, 51):
        w = random(size, size)
        for accuracy in ("exact", "fast")[: 1 if size < 15 else 2]:
            cases.append(
                (
                    f"filter2D {size}x{size} on 1080x1920, {accuracy}",
                    lambda w=w, a=accuracy: convc.correlate(
                        x, w, output=ours, mode="mirror", accuracy=a
                    ),
                    lambda w=w: cv2.filter2D(x, -1, w, dst=theirs),
                )
            )
    for sigma in (1.0, 2.0, 5.0):
        radius = int(4 * sigma + 0.5)
        w = cv2.getGaussianKernel(2 * radius + 1, sigma).astype("f4")
        cases.append(
            (
                f"sepFilter2D {2 * radius + 1} on 1080x1920",
                lambda s=sigma: convc.gaussian_filter(x, s, output=ours, mode="mirror"),
                lambda w=w: cv2.sepFilter2D(x, -1, w, w, dst=theirs),
            )
        )
    return cases


def overhead() -> None:
    """What a call takes beside its code: one element, a shape that was met."""
    x, w = random(1), np.ones(1)
    c = convc.compile("conv1d in 1 kernel 1", weights=np.ones((1, 1, 1)))
    x3, out = x.reshape(1, 1, 1), np.empty((1, 1, 1), "f4")
    layer = convc.compile("conv1d in 1 kernel 1").pack(x3)
    weight = random(1, 1, 1)
    print(f"\n{overhead.__doc__}")
    for name, call in (
        ("c(x, out=out), weights compiled in", lambda: c(x3, out=out)),
        ("layer(x, out=out), weights packed", lambda: layer(x3, out=out)),
        ("layer(x)", lambda: layer(x3)),
        ("convolve(x, w)", lambda: convc.convolve(x, w)),
        ("convolve(x, w, output=out)", lambda: convc.convolve(x, w, output=out.reshape(1))),
        ("gaussian_filter(x, 0.1)", lambda: convc.gaussian_filter(x, 0.1)),
        ("conv1d(x, weight), which packs it", lambda: convc.conv1d(x3, weight)),
        ("scipy.ndimage.convolve(x, w)", lambda: scipy.convolve(x, w)),
    ):
        least = min(timeit.repeat(call, number=200, repeat=100)) / 200
        print(f"  {name:36} {least * 1e6:9.2f} us")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--time", type=float, default=0.3, help="seconds a case")
    parser.add_argument("--only", default="", help="cases whose name has this")
    said = parser.parse_args()
    print(f"{cpu()}; float32 unless said, one thread, minima in turns")
    groups = [dense, gaussians, others] + ([opencv] if cv2 else [])
    for group in groups:
        print(f"\n{group.__doc__}")
        ratios = []
        for name, ours, theirs in group():
            if said.only in name:
                a, b = turns(ours, theirs, said.time)
                ratios.append(b / a)
                print(f"  {name:36} {a * 1e3:9.3f} ms  {b * 1e3:9.3f} ms  {b / a:6.2f}")
        if ratios:
            mean = float(np.exp(np.log(ratios).mean()))
            print(f"  geometric mean {mean:.2f}, least {min(ratios):.2f}")
    if not said.only:
        overhead()


if __name__ == "__main__":
    main()
