"""A picture of the sky with elements that are missing, smoothed.

    python examples/python/sky.py [-o sky.png]

The script makes stars and a nebula, and takes away columns, a corner and single elements, as a
broken camera does. A filter that knows nothing of NaN spreads them; with ``nan="normalize"`` the
weights of what is there make up for what is not.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import convc


def sky(size: int = 320) -> Any:
    """Stars of any brightness over a nebula."""
    random = np.random.default_rng(7)
    stars = np.zeros((size, size), "f4")
    places = random.integers(0, size, (250, 2))
    stars[places[:, 0], places[:, 1]] = random.pareto(1.5, 250) * 40
    nebula = convc.gaussian_filter(random.standard_normal((size, size)).astype("f4"), size / 16)
    nebula = (nebula - nebula.min()) / np.ptp(nebula)
    return convc.gaussian_filter(stars, 1.2) + 3 * nebula


def broken(x: Any) -> Any:
    """The same with elements that are NaN."""
    x = x.copy()
    random = np.random.default_rng(8)
    x[random.random(x.shape) < 0.0003] = np.nan
    x[:, random.integers(0, x.shape[1], 3)] = np.nan
    x[: x.shape[0] // 8, : x.shape[1] // 8] = np.nan
    return x


def grey(x: Any) -> Any:
    """8 bits, blue where there is nothing."""
    top = np.nanpercentile(x, 99.5)
    with np.errstate(invalid="ignore"):
        value = (np.sqrt(np.clip(x / top, 0, 1)) * 255).astype("u1")
    rgb = np.stack([value] * 3, axis=-1)
    rgb[np.isnan(x)] = (20, 40, 160)
    return rgb


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path("sky.png"))
    said = parser.parse_args()
    whole = sky()
    seen = broken(whole)
    sigma = 3.0
    plain = convc.gaussian_filter(seen, sigma)
    aware = convc.gaussian_filter(seen, sigma, nan="normalize")
    wanted = convc.gaussian_filter(whole, sigma)
    beside = np.concatenate([grey(x) for x in (seen, plain, aware, wanted)], axis=1)
    Image.fromarray(beside).save(said.output)
    lost = np.isnan(plain).mean() * 100
    there = ~np.isnan(aware)
    error = float(np.abs(aware - wanted)[there].mean() / wanted.mean())
    print(f"{said.output}: as it is seen, smoothed, smoothed around what is missing, and as it is")
    print(f"smoothed plainly {lost:.0f} % are NaN; around it {100 - there.mean() * 100:.1f} %,")
    print(f"and the mean error is {error * 100:.1f} % of the mean brightness")


if __name__ == "__main__":
    main()
