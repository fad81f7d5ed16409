"""Small models in ONNX, made here."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT, INT64, STRING = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING


def save(path: Path, nodes, inputs, outputs, weights=()) -> Path:
    """Write a model of nodes; inputs and outputs are (name, type, shape)."""
    graph = helper.make_graph(
        list(nodes),
        "test",
        [helper.make_tensor_value_info(*each) for each in inputs],
        [helper.make_tensor_value_info(*each) for each in outputs],
        [numpy_helper.from_array(array, name) for name, array in weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path


def scale(path: Path, factor: float = 2.0, width: int = 4) -> Path:
    """y = x * factor, of any number of rows."""
    return save(
        path,
        [helper.make_node("Mul", ["x", "factor"], ["y"])],
        [("x", FLOAT, ["n", width])],
        [("y", FLOAT, ["n", width])],
        [("factor", np.float32(factor).reshape(1))],
    )


def row_sums(path: Path) -> Path:
    """Two inputs, two outputs: total = sum of the rows of a and b; count = a's shape, which is no row."""
    return save(
        path,
        [
            helper.make_node("Add", ["a", "b"], ["ab"]),
            helper.make_node("ReduceSum", ["ab", "axis"], ["total"], keepdims=0),
            helper.make_node("Identity", ["b"], ["same"]),
        ],
        [("a", FLOAT, ["n", 3]), ("b", FLOAT, ["n", 3])],
        [("total", FLOAT, ["n"]), ("same", FLOAT, ["n", 3])],
        [("axis", np.array([1], np.int64))],
    )


def batch_mean(path: Path) -> Path:
    """Each row minus the mean of all rows: rows depend on one another, though the shapes do not say so."""
    return save(
        path,
        [
            helper.make_node("ReduceMean", ["x", "axis"], ["mean"], keepdims=1),
            helper.make_node("Sub", ["x", "mean"], ["y"]),
        ],
        [("x", FLOAT, ["n", 4])],
        [("y", FLOAT, ["n", 4])],
        [("axis", np.array([0], np.int64))],
    )


def lookup(path: Path, size: int = 10) -> Path:
    """Rows of a table by index: an index outside it fails the run."""
    return save(
        path,
        [helper.make_node("Gather", ["table", "index"], ["row"])],
        [("index", INT64, ["n"])],
        [("row", FLOAT, ["n", 2])],
        [("table", np.arange(size * 2, dtype=np.float32).reshape(size, 2))],
    )


def texts(path: Path) -> Path:
    """Texts in, the same texts out."""
    return save(
        path,
        [helper.make_node("Identity", ["text"], ["same"])],
        [("text", STRING, ["n"])],
        [("same", STRING, ["n"])],
    )


def mlp(path: Path, seed: int = 0, widths: tuple[int, ...] = (16, 64, 64, 4)) -> Path:
    """A multi-layer perceptron with random weights."""
    random = np.random.default_rng(seed)
    nodes, weights, last = [], [], "x"
    for index, (rows, columns) in enumerate(itertools.pairwise(widths)):
        final = index == len(widths) - 2
        weights += [
            (f"w{index}", random.standard_normal((rows, columns)).astype(np.float32)),
            (f"b{index}", random.standard_normal(columns).astype(np.float32)),
        ]
        out = "y" if final else f"h{index}"
        nodes.append(helper.make_node("Gemm", [last, f"w{index}", f"b{index}"], [out]))
        last = out
        if not final:
            nodes.append(helper.make_node("Relu", [out], [f"r{index}"]))
            last = f"r{index}"
    return save(path, nodes, [("x", FLOAT, ["n", widths[0]])], [("y", FLOAT, ["n", widths[-1]])], weights)


def quantised(path: Path, *, labels: bool = False) -> Path:
    """A linear layer on inputs that are quantised as they come: the largest of the whole batch sets the scale."""
    random = np.random.default_rng(0)
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"]),
        helper.make_node("MatMul", ["d", "w"], ["logits" if labels else "y"]),
    ]
    if labels:
        nodes.append(helper.make_node("ArgMax", ["logits"], ["y"], axis=1, keepdims=0))
    output = ("y", INT64, ["n"]) if labels else ("y", FLOAT, ["n", 3])
    weights = [("w", random.standard_normal((4, 3)).astype(np.float32))]
    return save(path, nodes, [("x", FLOAT, ["n", 4])], [output], weights)


def labels(path: Path) -> Path:
    """A linear classifier that gives labels."""
    random = np.random.default_rng(0)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["logits"]),
        helper.make_node("ArgMax", ["logits"], ["y"], axis=1, keepdims=0),
    ]
    weights = [("w", random.standard_normal((4, 3)).astype(np.float32))]
    return save(path, nodes, [("x", FLOAT, ["n", 4])], [("y", INT64, ["n"])], weights)


def softened(path: Path) -> Path:
    """Softmax over all rows at once, minus itself: a neighbour that is not finite spoils the others."""
    nodes = [
        helper.make_node("Softmax", ["x"], ["s"], axis=0),
        helper.make_node("Sub", ["s", "s"], ["none"]),
        helper.make_node("Add", ["x", "none"], ["y"]),
    ]
    return save(path, nodes, [("x", FLOAT, ["n", 4])], [("y", FLOAT, ["n", 4])])


def resnet18(path: Path, classes: int = 1000) -> Path:
    """ResNet-18 (He et al., 2015, table 1) as it is served: of one image, normalisation folded into the convolutions.

    Its weights are random; what it costs does not depend on them.
    """
    draw = np.random.default_rng(18)
    nodes, weights = [], []

    def convolve(source: str, name: str, shape: tuple[int, int, int], stride: int) -> str:
        outputs, inputs, size = shape
        kernel = draw.normal(0, (2 / (inputs * size * size)) ** 0.5, (outputs, inputs, size, size))
        weights.append((f"{name}.weight", kernel.astype(np.float32)))
        weights.append((f"{name}.bias", np.zeros(outputs, np.float32)))
        given = [source, f"{name}.weight", f"{name}.bias"]
        pads = [size // 2] * 4
        nodes.append(helper.make_node("Conv", given, [name], strides=[stride] * 2, pads=pads))
        return name

    def relu(source: str) -> str:
        nodes.append(helper.make_node("Relu", [source], [f"{source}.relu"]))
        return f"{source}.relu"

    last = relu(convolve("x", "stem", (64, 3, 7), 2))
    nodes.append(
        helper.make_node("MaxPool", [last], ["pool"], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    )
    last, width = "pool", 64
    for stage, wide in enumerate((64, 128, 256, 512)):
        for block in range(2):
            name, stride = f"{stage}.{block}", 2 if stage and not block else 1
            inner = relu(convolve(last, f"{name}.1", (wide, width, 3), stride))
            outer = convolve(inner, f"{name}.2", (wide, wide, 3), 1)
            beside = convolve(last, f"{name}.beside", (wide, width, 1), stride) if wide != width else last
            nodes.append(helper.make_node("Add", [outer, beside], [name]))
            last, width = relu(name), wide
    nodes.append(helper.make_node("GlobalAveragePool", [last], ["mean"]))
    nodes.append(helper.make_node("Flatten", ["mean"], ["flat"]))
    nodes.append(helper.make_node("Gemm", ["flat", "fc.weight", "fc.bias"], ["y"]))
    weights.append(("fc.weight", draw.normal(0, 0.01, (width, classes)).astype(np.float32)))
    weights.append(("fc.bias", np.zeros(classes, np.float32)))
    return save(path, nodes, [("x", FLOAT, ["n", 3, 224, 224])], [("y", FLOAT, ["n", classes])], weights)
