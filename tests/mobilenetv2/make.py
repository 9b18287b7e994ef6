#!/usr/bin/env python3
"""Writes `mobilenetv2.safetensors`: weights of MobileNetV2's size, drawn at random.

    python3 make.py

Names are those of the steps in `src/main.rs`. Trained weights of the same names and shapes, batch norm folded in, do as well.
"""

import array
import json
import math
import pathlib
import random
import struct

# Factor that the first 1x1 widens by, output channels, blocks.
STAGES = [(1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 3), (6, 320, 1)]


def shapes():
    yield "stem", (32, 3, 3, 3)
    channels = 32
    for stage, (factor, out, blocks) in enumerate(STAGES, 1):
        for block in range(1, blocks + 1):
            name, wide = f"s{stage}b{block}", channels * factor
            if factor > 1:
                yield f"{name}_expand", (wide, channels, 1, 1)
            yield f"{name}_window", (wide, 1, 3, 3)
            yield f"{name}_project", (out, wide, 1, 1)
            channels = out
    yield "last", (1280, channels, 1, 1)
    yield "classes", (1000, 1280, 1, 1)


rng, tensors = random.Random(1), {}
for name, shape in shapes():
    size, spread = math.prod(shape), math.sqrt(2 / math.prod(shape[1:]))
    tensors[f"{name}.weight"] = shape, array.array("f", (rng.gauss(0, spread) for _ in range(size)))
    tensors[f"{name}.bias"] = shape[:1], array.array("f", (rng.gauss(0, 0.1) for _ in range(shape[0])))

header, at = {}, 0
for name, (shape, numbers) in tensors.items():
    end = at + 4 * len(numbers)
    header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, end]}
    at = end
text = json.dumps(header).encode()
with open(pathlib.Path(__file__).with_name("mobilenetv2.safetensors"), "wb") as file:
    file.write(struct.pack("<Q", len(text)) + text)
    for _, numbers in tensors.values():
        file.write(numbers.tobytes())
