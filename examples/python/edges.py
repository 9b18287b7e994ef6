"""The edges of a photograph, coloured by their direction, and the photograph sharpened.

    python examples/python/edges.py [PICTURE] [-o edges.png]

Brightness is the length of the gradient, colour its direction. Each channel is sharpened by what a
Gaussian takes away from it.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import convc

PHOTO = Path(__file__).parents[2] / "docs" / "astronaut.png"


def edges(grey: Any) -> Any:
    """RGB of the gradient: hue is its direction, value its length."""
    smooth = convc.gaussian_filter(grey, sigma=1.0)
    dy, dx = convc.sobel(smooth, axis=0), convc.sobel(smooth, axis=1)
    length = np.hypot(dx, dy)
    value = np.clip(length / np.percentile(length, 99), 0, 1)
    angle = np.arctan2(dy, dx) / (2 * np.pi) % 1.0
    hsv = np.stack([angle, np.full_like(angle, 0.6), value], axis=-1)
    return np.asarray(Image.fromarray((hsv * 255).astype("u1"), "HSV").convert("RGB"))


def sharpened(rgb: Any) -> Any:
    """Each channel by itself: `axes` leaves the last one out."""
    x = rgb.astype("f4")
    detail = x - convc.gaussian_filter(x, sigma=2.0, axes=(0, 1))
    return np.clip(x + 1.5 * detail, 0, 255).astype("u1")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("picture", nargs="?", type=Path, default=PHOTO)
    parser.add_argument("-o", "--output", type=Path, default=Path("edges.png"))
    said = parser.parse_args()
    rgb = np.asarray(Image.open(said.picture).convert("RGB"))
    grey = rgb.astype("f4") @ np.array([0.299, 0.587, 0.114], "f4")
    beside = np.concatenate([rgb, sharpened(rgb), edges(grey)], axis=1)
    Image.fromarray(beside).save(said.output)
    print(f"{said.output}: the photograph, sharpened, and its edges")


if __name__ == "__main__":
    main()
