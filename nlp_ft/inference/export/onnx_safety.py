"""Checks of a graph's structure before a runtime opens it.

Ensured: nothing outside the directory is read, weights are as large as the graph says, no constant shape asks for more memory
than any classifier needs, and nothing loops or grows when it is opened. Not ensured: the time that a large graph takes.
"""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path, PurePath, PureWindowsPath
from typing import TYPE_CHECKING

from nlp_ft.errors import ModelError
from nlp_ft.models.checkpoint import as_model_error

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto, TensorProto

_LARGEST_GRAPH = 2**31 - 1  # bytes; the limit of protobuf
_LARGEST_XML = 2**28
_MOST_NODES = 200_000
_MOST_ELEMENTS = 2**28  # of a tensor with a constant shape; an attention mask of 16384 tokens
_SHAPED = {
    "ConstantOfShape": 0,
    "Expand": 1,
    "Tile": 1,
    "Resize": 3,
    "Reshape": 1,
}  # operator: index of the input with the shape
_LOOPS = ("Loop", "Scan", "SequenceMap")
_ELEMENT_BYTES = {
    **dict.fromkeys(("f64", "i64", "u64"), 8.0),
    **dict.fromkeys(("f32", "i32", "u32"), 4.0),
    **dict.fromkeys(("f16", "bf16", "i16", "u16"), 2.0),
    **dict.fromkeys(("i8", "u8", "boolean", "f8e4m3", "f8e5m2"), 1.0),
    **dict.fromkeys(("i4", "u4", "nf4"), 0.5),
}


def vet_onnx(path: Path) -> None:
    """Refuse an ONNX file that reads foreign files or asks for absurd sizes.

    Raises: ModelError.
    """
    import onnx

    _vet_link(path)
    if path.stat().st_size > _LARGEST_GRAPH:
        raise ModelError(f"{path} has {path.stat().st_size:,} bytes; a graph has at most {_LARGEST_GRAPH:,}.")
    with as_model_error(str(path.parent), path.name):
        model = onnx.load(str(path), load_external_data=False)
    if model.functions:
        raise ModelError(
            f"{path} holds functions ({model.functions[0].name}), which may grow without end; wanted none."
        )
    constants: dict[str, TensorProto] = {}
    nodes = 0
    for graph in _graphs(model.graph):
        for tensor in graph.initializer:
            _vet_tensor(path, tensor)
            constants[tensor.name] = tensor
        if len(graph.sparse_initializer):
            raise ModelError(f"{path} holds sparse weights, which no classifier here has.")
        for node in graph.node:
            nodes += 1
            _vet_node(path, node, constants)
    if nodes > _MOST_NODES:
        raise ModelError(f"{path} has {nodes:,} nodes; wanted at most {_MOST_NODES:,}.")


def _graphs(graph: GraphProto) -> Iterator[GraphProto]:
    """A graph and those within its nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _graphs(inner)


def _vet_node(path: Path, node: NodeProto, constants: dict[str, TensorProto]) -> None:
    from onnx import numpy_helper

    if node.op_type in _LOOPS:
        raise ModelError(f"{path} holds a {node.op_type}, which may run without end; wanted a graph without.")
    for attribute in node.attribute:
        for tensor in (*([attribute.t] if attribute.HasField("t") else []), *attribute.tensors):
            _vet_tensor(path, tensor)
            if node.op_type == "Constant" and node.output:
                constants[node.output[0]] = tensor
        if attribute.name == "shape" and math.prod(attribute.ints) > _MOST_ELEMENTS:
            _refuse_size(path, node, list(attribute.ints))
    shape_index = _SHAPED.get(node.op_type)
    shape_tensor = (
        constants.get(node.input[shape_index]) if shape_index is not None and len(node.input) > shape_index else None
    )
    if shape_tensor is None or shape_tensor.external_data or math.prod(shape_tensor.dims) > 16:
        return
    shape = numpy_helper.to_array(shape_tensor).reshape(-1).tolist()
    if math.prod(max(int(size), 1) for size in shape) > _MOST_ELEMENTS:
        _refuse_size(path, node, shape)


def _refuse_size(path: Path, node: NodeProto, shape: list[int]) -> None:
    raise ModelError(f"{path}: {node.op_type} {node.name!r} makes a tensor of shape {shape}, which no text needs.")


def _vet_tensor(path: Path, tensor: TensorProto) -> None:
    """Check that weights are in the file, or in a file beside it of the right size.

    Raises: ModelError.
    """
    from onnx import helper

    if any(size < 0 for size in tensor.dims):
        raise ModelError(f"{path}: {tensor.name} has the shape {list(tensor.dims)}.")
    if not tensor.external_data and tensor.data_location != tensor.EXTERNAL:
        return
    fields = {entry.key: entry.value for entry in tensor.external_data}
    location = fields.get("location", "")
    if not _is_plain_name(location):
        raise ModelError(f"{path}: the weights {tensor.name} are in {location!r}, which is no file of that directory.")
    file = path.parent / location
    if not file.is_file():
        raise ModelError(f"{path}: the weights {tensor.name} are in {location}, which is not there.")
    _vet_link(file)
    with as_model_error(str(path.parent), path.name):
        start, bits = int(fields.get("offset", 0)), helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize * 8
        if tensor.data_type in (tensor.INT4, tensor.UINT4, tensor.FLOAT4E2M1):
            bits = 4
        needed = (math.prod(tensor.dims) * bits + 7) // 8
        length = int(fields.get("length", needed))
    if start < 0 or length != needed or start + length > file.stat().st_size:
        raise ModelError(
            f"{path}: {tensor.name} of shape {list(tensor.dims)} needs {needed:,} bytes, and {location} has "
            f"{max(min(length, file.stat().st_size - start), 0):,} of it."
        )


def vet_openvino(path: Path) -> None:
    """Refuse an OpenVINO graph with loops, or with weights outside its .bin file.

    Raises: ModelError.
    """
    weights = path.with_suffix(".bin")
    for file in (path, weights):
        if not file.is_file():
            raise ModelError(f"{file} is not there; the graph and its weights are two files.")
        _vet_link(file)
    if path.stat().st_size > _LARGEST_XML:
        raise ModelError(f"{path} has {path.stat().st_size:,} bytes; a graph has at most {_LARGEST_XML:,}.")
    text = path.read_bytes()
    if re.search(rb"<!(DOCTYPE|ENTITY)", text):
        raise ModelError(f"{path} declares entities, which may grow without end; wanted none.")
    with as_model_error(str(path.parent), path.name):
        root = ElementTree.fromstring(text)
    size = weights.stat().st_size
    for layer in root.iter("layer"):
        kind, data = layer.get("type", ""), layer.find("data")
        if kind in ("Loop", "TensorIterator", "Assign", "ReadValue"):
            raise ModelError(f"{path} holds a {kind}, which may run without end; wanted a graph without.")
        if kind == "Const":
            _vet_const(path, layer.get("name", ""), {} if data is None else data.attrib, size)


def _vet_const(path: Path, name: str, attributes: dict[str, str], size: int) -> None:
    """Check that a constant lies within the .bin file.

    Raises: ModelError.
    """
    with as_model_error(str(path.parent), path.name):
        start, available = int(attributes.get("offset", 0)), int(attributes.get("size", 0))
        shape = [int(length) for length in attributes.get("shape", "").split(",") if length.strip()]
        needed = math.ceil(math.prod(shape) * _ELEMENT_BYTES.get(attributes.get("element_type", ""), 0.0))
    if start < 0 or available < needed or start + available > size or any(length < 0 for length in shape):
        raise ModelError(
            f"{path}: {name} of shape {shape} needs {needed:,} bytes, and {path.with_suffix('.bin').name} has "
            f"{max(min(available, size - start), 0):,} of it."
        )


def _is_plain_name(name: str) -> bool:
    return name not in ("", ".", "..") and PurePath(name).name == name == PureWindowsPath(name).name


def _vet_link(path: Path) -> None:
    """Refuse a link that leaves the directory and its Hub cache.

    Raises: ModelError.
    """
    if not path.is_symlink():
        return
    directory = path.parent.resolve()
    snapshot = next(
        (candidate for candidate in (directory, directory.parent) if candidate.parent.name == "snapshots"), None
    )
    allowed = [directory, *([snapshot.parent.parent / "blobs"] if snapshot is not None else [])]
    if not any(path.resolve().is_relative_to(candidate) for candidate in allowed):
        raise ModelError(f"{path} is a link to a file outside of that directory; put the file itself there.")
