#!/usr/bin/env python3
"""Runs the node cases of the `onnx` package through `convc-onnx`, and counts them.

    pip install onnx numpy
    ./node_cases.py target/release/convc-onnx Conv MaxPool

Each case is one operator with inputs and the outputs that ONNX says it has. The first input is
given in the run; the others are made constants of the model, as weights are. Cases of other types
than float32 are passed over, but for quantised operators bytes and their sums are taken. Without operators, those of a convolutional network are taken.
"""

import argparse
import collections
import contextlib
import io
import pathlib
import subprocess
import tempfile
import warnings

import numpy
import onnx
from onnx import numpy_helper

OPERATORS = """
    Conv ConvTranspose MaxPool AveragePool GlobalAveragePool GlobalMaxPool Resize Upsample
    BatchNormalization InstanceNormalization GroupNormalization Concat Split Pad Slice Gemm MatMul
    Flatten Reshape Transpose DepthToSpace SpaceToDepth ReduceMean Add Sub Mul Div Sum Max Min Clip
    Relu LeakyRelu PRelu Elu Celu Selu Sigmoid HardSigmoid HardSwish Mish Softplus Tanh Gelu Softmax
    ThresholdedRelu Erf Swish
    QLinearConv ConvInteger QuantizeLinear DequantizeLinear QLinearMatMul MatMulInteger
    DynamicQuantizeLinear
""".split()


def cases(operators):
    """The cases of these operators, each once."""
    from onnx.backend.test.case.node import collect_testcases

    # The package's own modules say things that are of no interest here.
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        collected = collect_testcases()
    found = {}
    for case in collected:
        # Those that are expanded into other operators have names of their own.
        nodes = [node.op_type for node in case.model.graph.node] if case.model else []
        if len(nodes) == 1 and nodes[0] in operators:
            found.setdefault(case.name, (nodes[0], case))
    return sorted(found.values(), key=lambda found: operators.index(found[0]))


def with_constants(case):
    """The model with constants for all inputs but the first, that input, and the outputs."""
    inputs, outputs = case.data_sets[0]
    model = onnx.ModelProto.FromString(case.model.SerializeToString())
    first, *others = model.graph.input
    for port, value in zip(others, inputs[1:]):
        model.graph.initializer.append(numpy_helper.from_array(numpy.asarray(value), port.name))
    del model.graph.input[1:]
    return model, first.name, inputs[0], outputs


QUANTISED = {
    "QLinearConv", "ConvInteger", "QuantizeLinear", "DequantizeLinear", "QLinearMatMul",
    "MatMulInteger", "DynamicQuantizeLinear",
}


def is_taken(operator, value):
    types = ["float32"]
    if operator in QUANTISED:
        types += ["uint8", "int8", "uint16", "int16", "int32"]
    return isinstance(value, numpy.ndarray) and value.dtype.name in types


def run(program, case, folder):
    """What became of a case: `compiled`, `tract`, or why there is no right result."""
    model, name, value, outputs = with_constants(case)
    onnx.save(model, folder / "model.onnx")
    numpy.save(folder / "x.npy", value)
    arguments = [folder / "model.onnx", "--input", f"{name}={folder / 'x.npy'}"]
    done = subprocess.run(
        [program, "run", *arguments, "-o", folder], capture_output=True, text=True, timeout=120
    )
    if done.returncode:
        return "refused: " + " ".join(done.stderr.removeprefix("error: ").split())
    for port, expected in zip(model.graph.output, outputs):
        found = numpy.load(folder / (port.name.replace("/", "_") + ".npy"))
        if found.shape != expected.shape:
            return f"wrong: {port.name} is {found.shape}, not {expected.shape}"
        # The tolerances of the package's own runner.
        if not numpy.allclose(found, expected, rtol=1e-3, atol=1e-7, equal_nan=True):
            return f"wrong: {port.name} differs by {numpy.abs(found - expected).max():.2g}"
    explained = subprocess.run(
        [program, "explain", *arguments], capture_output=True, text=True, timeout=120
    )
    return "compiled" if " Compiled " in explained.stdout else "tract"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", type=pathlib.Path, help="convc-onnx")
    parser.add_argument("operator", nargs="*", help="ONNX operators, such as Conv")
    args = parser.parse_args()
    counts = collections.defaultdict(collections.Counter)
    for operator, case in cases(args.operator or OPERATORS):
        inputs, outputs = case.data_sets[0]
        # The others may be shapes or axes.
        given = [*inputs[:1], *outputs]
        if not (inputs and all(is_taken(operator, value) for value in given)):
            counts[operator]["passed over"] += 1
            continue
        with tempfile.TemporaryDirectory() as folder:
            result = run(args.program, case, pathlib.Path(folder))
        word, _, reason = result.partition(": ")
        counts[operator][word] += 1
        if reason:
            print(f"{case.name}: {word}: {reason}")
    words = ["compiled", "tract", "refused", "wrong", "passed over"]
    print(f"\n{'operator':24}" + "".join(f"{word:>13}" for word in words))
    total = collections.Counter()
    for operator, count in counts.items():
        print(f"{operator:24}" + "".join(f"{count[word]:13}" for word in words))
        total.update(count)
    print(f"{'all':24}" + "".join(f"{total[word]:13}" for word in words))


if __name__ == "__main__":
    main()
