#!/usr/bin/env python3
"""Makes the models of this folder, with inputs and the outputs that ONNX Runtime gives.

    pip install numpy onnx==1.23.* onnxruntime==1.32.*
    ./make.py

A small MobileNetV2-like network, quantised by ONNX Runtime's `quantize_static` in both formats, and
by `quantize_dynamic`; `steps.onnx` has every tensor of bytes as an output. Each output is what ONNX Runtime computes without optimisations, so that it
is what each operator says.
"""

import pathlib
import tempfile

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import quantization as q

HERE = pathlib.Path(__file__).parent
RANDOM = np.random.default_rng(5)


def network():
    nodes, constants = [], []

    def constant(values):
        name = f"w{len(constants)}"
        constants.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    def node(op, *inputs, **attributes):
        name = f"t{len(nodes)}"
        nodes.append(helper.make_node(op, inputs, [name], name, **attributes))
        return name

    def conv(x, channels, outputs, kernel, stride=1, groups=1):
        fan = channels // groups * kernel**2
        weight = constant(RANDOM.normal(0, (2 / fan) ** 0.5, (outputs, channels // groups, kernel, kernel)))
        bias = constant(RANDOM.normal(0, 0.1, outputs))
        return node("Conv", x, weight, bias, kernel_shape=[kernel] * 2, strides=[stride] * 2,
                    pads=[kernel // 2] * 4, group=groups)

    x = node("Relu", conv("x", 3, 8, 3, 2))
    y = node("Relu", conv(x, 8, 24, 1))
    y = node("LeakyRelu", conv(y, 24, 24, 3, groups=24), alpha=0.1)
    x = node("Add", x, conv(y, 24, 8, 1))
    y = node("Sigmoid", conv(node("GlobalAveragePool", x), 8, 8, 1))
    x = node("Concat", node("Mul", x, y), node("AveragePool", x, kernel_shape=[3, 3], pads=[1] * 4, count_include_pad=1), axis=1)
    x = node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = node("Flatten", node("GlobalAveragePool", conv(x, 16, 12, 3)))
    x = node("Gemm", x, constant(RANDOM.normal(0, 0.4, (10, 12))), constant(RANDOM.normal(0, 0.1, 10)), transB=1)
    x = node("Softmax", x, axis=-1)
    ports = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 21, 18])]
    out = [helper.make_tensor_value_info(x, TensorProto.FLOAT, [1, 10])]
    graph = helper.make_graph(nodes, "small", ports, out, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def image(seed):
    return np.random.default_rng(seed).normal(0, 1, (1, 3, 21, 18)).astype(np.float32)


class Images(q.CalibrationDataReader):
    def __init__(self):
        self.left = iter([{"x": image(seed)} for seed in (1, 2, 3)])

    def get_next(self):
        return next(self.left, None)


def main():
    np.save(HERE / "image.npy", image(7))
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "small.onnx"
        onnx.save(network(), path)
        words = dict(per_channel=True, activation_type=q.QuantType.QUInt8, weight_type=q.QuantType.QInt8)
        q.quantize_static(path, HERE / "qdq.onnx", Images(), quant_format=q.QuantFormat.QDQ, **words)
        q.quantize_static(path, HERE / "qoperator.onnx", Images(), quant_format=q.QuantFormat.QOperator, **words)
        q.quantize_dynamic(path, HERE / "dynamic.onnx", weight_type=q.QuantType.QUInt8)
    # Every tensor of bytes as an output, in the order of the nodes.
    steps = onnx.load(HERE / "qoperator.onnx")
    del steps.graph.output[:]
    for node in steps.graph.node[:-1]:
        steps.graph.output.append(helper.make_tensor_value_info(node.output[0], TensorProto.UINT8, None))
    onnx.save(steps, HERE / "steps.onnx")
    for name in ("qdq", "qoperator", "dynamic", "steps"):
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = onnxruntime.InferenceSession(HERE / f"{name}.onnx", options)
        outputs = session.run(None, {"x": image(7)})
        np.save(HERE / f"{name}.npy", np.concatenate([output.ravel() for output in outputs]))


if __name__ == "__main__":
    main()
