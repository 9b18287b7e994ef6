#!/usr/bin/env python3
"""Finds the lines of text on a photograph of a page, and draws boxes around them.

    pip install numpy scikit-image rapidocr-onnxruntime==1.4.4
    cargo build --release --manifest-path conv-onnx/Cargo.toml
    conv-onnx/examples/text_boxes.py boxes.png

The picture is scikit-image's `page`, the model PP-OCRv4's detector, which rapidocr carries.
"""

import argparse
import importlib.util
import pathlib
import subprocess
import tempfile

import numpy
from skimage import data, io, measure, transform

PROGRAM = pathlib.Path(__file__).parents[1] / "target/release/convc-onnx"
SCALE = 3  # the page's letters are 8 pixels high; the detector wants some more


def model():
    found = importlib.util.find_spec("rapidocr_onnxruntime")
    if found is None:
        raise SystemExit("the detector is missing: pip install rapidocr-onnxruntime==1.4.4")
    folder = pathlib.Path(found.submodule_search_locations[0])
    return folder / "models/ch_PP-OCRv4_det_infer.onnx"


def probabilities(picture, program, detector):
    """For each pixel of a grey picture in 0 to 1: how likely it is text. Sides are multiples of 32."""
    x = numpy.stack([(picture - 0.5) / 0.5] * 3)[None].astype(numpy.float32)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        numpy.save(folder / "x.npy", x)
        arguments = ["--input", f"x={folder / 'x.npy'}", "-o", folder / "outputs"]
        subprocess.run([program, "run", detector, *arguments], check=True, stdout=subprocess.DEVNULL)
        (output,) = (folder / "outputs").iterdir()
        return numpy.load(output)[0, 0]


def boxes(probability):
    """Rows and columns (first, last) of each line: the model marks its middle, so boxes grow."""
    for region in measure.regionprops(measure.label(probability > 0.3)):
        top, left, bottom, right = region.bbox
        if region.area >= 30:
            grow = round(0.4 * (bottom - top))
            yield top - grow, left - grow, bottom + grow, right + grow


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=pathlib.Path, help="the picture with its boxes")
    parser.add_argument("--model", type=pathlib.Path, help="the detector, if it is elsewhere")
    parser.add_argument("--program", type=pathlib.Path, default=PROGRAM)
    args = parser.parse_args()

    page = data.page() / 255.0
    sides = [round(side * SCALE / 32) * 32 for side in page.shape]
    page = transform.resize(page, sides)
    found = list(boxes(probabilities(page, args.program, args.model or model())))
    picture = numpy.stack([page] * 3, axis=-1)
    for top, left, bottom, right in found:
        box = picture[max(top, 0) : bottom, max(left, 0) : right]
        for edge in box[:2], box[-2:], box[:, :2], box[:, -2:]:
            edge[:] = (1.0, 0.0, 0.0)
    io.imsave(args.output, (picture * 255).astype(numpy.uint8), check_contrast=False)
    print(f"{len(found)} lines of text in {args.output}")


if __name__ == "__main__":
    main()
