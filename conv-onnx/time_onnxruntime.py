#!/usr/bin/env python3
"""Times ONNX Runtime as `convc-onnx bench --format json` times us: one JSON object a model.

    pip install onnxruntime numpy
    ./time_onnxruntime.py model.onnx --size x=1x3x640x640 --threads 1
"""

import argparse
import json
import pathlib
import time

import numpy
import onnxruntime


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--input", action="append", default=[], metavar="NAME=FILE.npy")
    parser.add_argument("--size", action="append", default=[], metavar="NAME=1x3x640x640")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--time", type=float, default=2.0, help="least time in seconds")
    args = parser.parse_args()

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = args.threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        args.model, options, providers=["CPUExecutionProvider"]
    )
    inputs = {}
    for given in args.input:
        name, path = given.rsplit("=", 1)
        inputs[name] = numpy.load(path)
    random = numpy.random.default_rng(1)
    for given in args.size:
        name, size = given.rsplit("=", 1)
        shape = [int(extent) for extent in size.split("x")]
        inputs[name] = random.uniform(-1, 1, shape).astype(numpy.float32)

    end = time.perf_counter() + 0.1
    while time.perf_counter() < end:
        session.run(None, inputs)
    times, end = [], time.perf_counter() + args.time
    while len(times) < 5 or time.perf_counter() < end:
        start = time.perf_counter()
        session.run(None, inputs)
        times.append((time.perf_counter() - start) * 1e3)
    times.sort()
    print(json.dumps({
        "model": args.model.name,
        "route": "onnxruntime",
        "threads": args.threads,
        "ms_min": times[0],
        "ms_median": times[len(times) // 2],
    }))


if __name__ == "__main__":
    main()
