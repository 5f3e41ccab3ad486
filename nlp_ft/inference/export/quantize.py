"""int8 for an ONNX graph: weights of every linear layer in 8 bits, activations put into 8 bits while it runs."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from pathlib import Path
from typing import Any


def to_int8(program: Any, folder: Path) -> Any:
    """An onnx_ir.Model with int8 linear layers, of one with float32; folder: where temporary files may stand.

    Per channel and with 7 bits of range: on processors without VNNI two 8-bit products overflow the 16 bits in which they
    are added, in silence, and other processors lose nothing measurable by it.
    """
    import onnx
    import onnx_ir
    from onnxruntime.quantization import QuantType, quantize_dynamic

    off = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with tempfile.TemporaryDirectory(dir=folder) as work, contextlib.redirect_stdout(io.StringIO()):
            source, target = Path(work, "float.onnx"), Path(work, "int8.onnx")
            onnx_ir.save(program, str(source), external_data="float.onnx.data")
            quantize_dynamic(
                source,
                target,
                op_types_to_quantize=["MatMul", "Gemm", "Gather"],
                per_channel=True,
                reduce_range=True,
                weight_type=QuantType.QInt8,
                use_external_data_format=True,
                extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},  # the graph says no types within
            )
            model = onnx_ir.load(str(target))
            onnx_ir.external_data.load_to_model(model)
            _load_constants(model, onnx_ir)
            return model
    finally:
        logging.disable(off)


def _load_constants(model: Any, onnx_ir: Any) -> None:
    """Weights that stand in nodes, into memory, before their file goes."""
    for node in model.graph.all_nodes():
        for name, attribute in node.attributes.items():
            if isinstance(attribute.value, onnx_ir.ExternalTensor):
                held = onnx_ir.Tensor(attribute.value.numpy(), dtype=attribute.value.dtype, name=attribute.value.name)
                node.attributes[name] = onnx_ir.AttrTensor(name, held)
