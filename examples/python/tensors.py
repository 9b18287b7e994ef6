"""A torch tensor through DLPack: read where it is, and a tensor comes back.

    python examples/python/tensors.py [-o tensors.png]

A photograph becomes a tensor. Gabor's filters in six directions answer to its stripes and edges, a
smoothing follows, and the strongest answer colours each place. The same layers by torch stand
beside: the script says how far the two are apart, and that nothing was copied. It needs torch.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import convc

PHOTO = Path(__file__).parents[2] / "docs" / "astronaut.png"
DIRECTIONS = 6


def gabor(size: int = 11) -> Any:
    """A wave of 6 elements' length under a Gaussian, for each direction: (out, 1, size, size)."""
    y, x = torch.meshgrid(*[torch.arange(size) - size // 2.0] * 2, indexing="ij")
    filters = []
    for angle in torch.arange(DIRECTIONS) * (torch.pi / DIRECTIONS):
        along = x * torch.cos(angle) + y * torch.sin(angle)
        wave = torch.cos(along * (2 * torch.pi / 6)) * torch.exp(-(x**2 + y**2) / 18)
        filters.append(wave - wave.mean())
    return torch.stack(filters)[:, None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("picture", nargs="?", type=Path, default=PHOTO)
    parser.add_argument("-o", "--output", type=Path, default=Path("tensors.png"))
    said = parser.parse_args()
    grey = np.asarray(Image.open(said.picture).convert("L"), "f4") / 255
    x = torch.from_numpy(grey)[None, None]
    height, width = grey.shape

    # Two steps as one program. The second smooths each direction by itself.
    layers = convc.compile(
        f"conv2d oc{DIRECTIONS} in {height}x{width} kernel 11 pad 5, relu; "
        f"conv2d g{DIRECTIONS} oc{DIRECTIONS} kernel 9 pad 4"
    )
    waves, smooth = gabor(), torch.full((DIRECTIONS, 1, 9, 9), 1 / 81)
    room = torch.empty(layers.output_shape)
    made = layers.pack(waves, smooth)(x, out=room)
    assert made is room

    functional = torch.nn.functional
    theirs = functional.conv2d(
        functional.conv2d(x, waves, padding=5).relu(), smooth, padding=4, groups=6
    )
    apart = float((made - theirs).abs().max() / theirs.abs().max())
    assert apart < 1e-5

    strength, direction = made[0].max(0)
    hue = direction / DIRECTIONS
    value = (strength / strength.quantile(0.99)).clamp(0, 1)
    hsv = torch.stack([hue, torch.full_like(hue, 0.7), value], -1)
    colours = Image.fromarray((hsv * 255).byte().numpy(), "HSV").convert("RGB")
    both = np.concatenate([np.asarray(Image.fromarray(grey * 255).convert("RGB")), colours], 1)
    Image.fromarray(both).save(said.output)
    print(f"{said.output}: the photograph, and the direction of its stripes as a colour")
    print(f"torch's own layers are {apart:.0e} of the largest output apart")
    y = convc.conv2d(x, waves, padding=5)
    print(f"conv2d of a {type(x).__name__} is a {type(y).__name__} of {tuple(y.shape)}")


if __name__ == "__main__":
    main()
