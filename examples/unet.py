#!/usr/bin/env python3
"""Fits the weights of a small U-Net that takes noise out of grey pictures: `unet.rs` runs it.

    pip install numpy scikit-image
    python examples/unet.py examples/unet.safetensors

It sees patches of pictures that come with scikit-image, never the astronaut. Some minutes.
"""

import json
import sys

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from skimage import color, data

# A step's name, input and output channels. Windows are 3x3.
STEPS = {"fine": (1, 12), "down": (12, 24), "coarse": (24, 24), "up": (36, 12), "last": (12, 1)}
NOISE = 0.1
rng = np.random.default_rng(1)


def windows(x):
    """[n, c, h, w] as rows of 3x3 windows: [n, h, w, c * 9]."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    rows = sliding_window_view(padded, (3, 3), (2, 3)).transpose(0, 2, 3, 1, 4, 5)
    return np.ascontiguousarray(rows).reshape(*rows.shape[:3], -1)


def conv(x, name, weights):
    rows = windows(x)
    weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
    return (rows @ weight.reshape(len(weight), -1).T + bias).transpose(0, 3, 1, 2), rows


def conv_back(dy, rows, name, weights, grads):
    weight = weights[f"{name}.weight"]
    flat = dy.transpose(0, 2, 3, 1).reshape(-1, len(weight))
    grads[f"{name}.weight"] = (flat.T @ rows.reshape(len(flat), -1)).reshape(weight.shape)
    grads[f"{name}.bias"] = flat.sum(0)
    back = weight[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)
    return (windows(dy) @ back.reshape(len(back), -1).T).transpose(0, 3, 1, 2)


def quarters(x):
    n, c, h, w = x.shape
    return x.reshape(n, c, h // 2, 2, w // 2, 2)


def step(noisy, clean, weights):
    """The loss, and the gradient of every weight."""
    grads = {}
    fine, fine_rows = conv(noisy, "fine", weights)
    fine = np.maximum(fine, 0)
    halved = quarters(fine).max((3, 5))
    down, down_rows = conv(halved, "down", weights)
    down = np.maximum(down, 0)
    coarse, coarse_rows = conv(down, "coarse", weights)
    coarse = np.maximum(coarse, 0)
    joined = np.concatenate([coarse.repeat(2, 2).repeat(2, 3), fine], 1)
    up, up_rows = conv(joined, "up", weights)
    up = np.maximum(up, 0)
    noise, noise_rows = conv(up, "last", weights)
    error = noisy + noise - clean
    dup = conv_back(2 * error / error.size, noise_rows, "last", weights, grads) * (up > 0)
    djoined = conv_back(dup, up_rows, "up", weights, grads)
    dcoarse = quarters(djoined[:, : coarse.shape[1]]).sum((3, 5)) * (coarse > 0)
    ddown = conv_back(dcoarse, coarse_rows, "coarse", weights, grads) * (down > 0)
    dhalved = conv_back(ddown, down_rows, "down", weights, grads)
    is_most = quarters(fine) == halved[:, :, :, None, :, None]
    dfine = (is_most * dhalved[:, :, :, None, :, None]).reshape(fine.shape)
    dfine = (dfine + djoined[:, coarse.shape[1] :]) * (fine > 0)
    conv_back(dfine, fine_rows, "fine", weights, grads)
    return (error**2).mean(), grads


def patches(pictures, count, side):
    for _ in range(count):
        picture = pictures[rng.integers(len(pictures))]
        y, x = (rng.integers(extent - side + 1) for extent in picture.shape)
        patch = np.rot90(picture[y : y + side, x : x + side], rng.integers(4))
        yield patch if rng.integers(2) else patch.T


def main():
    colours = [data.coffee(), data.chelsea(), data.rocket(), data.stereo_motorcycle()[0]]
    pictures = [color.rgb2gray(picture) for picture in colours] + [data.camera() / 255]
    weights = {}
    for name, (ic, oc) in STEPS.items():
        scale = np.sqrt(2 / (9 * ic)) * (0.1 if name == "last" else 1)
        weights[f"{name}.weight"] = rng.normal(0, scale, (oc, ic, 3, 3)).astype("f4")
        weights[f"{name}.bias"] = np.zeros(oc, "f4")
    means = {key: [np.zeros_like(of), np.zeros_like(of)] for key, of in weights.items()}
    rounds, losses = int(sys.argv[2]) if len(sys.argv) > 2 else 1600, []
    for at in range(1, rounds + 1):
        clean = np.stack(list(patches(pictures, 8, 48)))[:, None].astype("f4")
        noisy = clean + rng.normal(0, NOISE, clean.shape).astype("f4")
        loss, grads = step(noisy, clean, weights)
        losses.append(loss)
        for key, grad in grads.items():  # Adam
            first, second = means[key]
            first += 0.1 * (grad - first)
            second += 0.001 * (grad**2 - second)
            rate = 2e-3 * (1 - at / (rounds + 1)) / (1 - 0.9**at) * np.sqrt(1 - 0.999**at)
            weights[key] -= rate * first / (np.sqrt(second) + 1e-8)
        if at % 200 == 0:
            print(at, f"{-10 * np.log10(np.mean(losses[-200:])):.2f} dB", flush=True)
    header, start = {}, 0
    for key, of in weights.items():
        end = start + of.nbytes
        header[key] = {"dtype": "F32", "shape": of.shape, "data_offsets": [start, end]}
        start = end
    head = json.dumps(header).encode()
    with open(sys.argv[1], "wb") as file:
        file.write(len(head).to_bytes(8, "little") + head)
        file.writelines(of.astype("<f4").tobytes() for of in weights.values())


main()
