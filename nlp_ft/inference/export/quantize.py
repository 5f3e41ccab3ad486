"""int8 quantization of an ONNX graph.

Weights of every linear layer are stored in 8 bits; activations are quantized while it runs.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir


def to_int8(program: onnx_ir.Model, folder: Path) -> onnx_ir.Model:
    """Quantize the linear layers of a float32 model to int8.

    Per channel and with a range of 7 bits: on processors without VNNI the sum of two 8-bit products overflows 16 bits silently,
    and other processors lose nothing measurable by it.

    folder: directory for temporary files.
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
                extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},  # the graph has no types inside
            )
            model = onnx_ir.load(str(target))
            onnx_ir.external_data.load_to_model(model)
            _load_constants(model)
            return model
    finally:
        logging.disable(off)


def _load_constants(model: onnx_ir.Model) -> None:
    """Load weights that are stored in nodes, before their file is removed."""
    import onnx_ir

    for node in model.graph.all_nodes():
        for name, attribute in node.attributes.items():
            if isinstance(attribute.value, onnx_ir.ExternalTensor):
                tensor = onnx_ir.Tensor(attribute.value.numpy(), dtype=attribute.value.dtype, name=attribute.value.name)
                node.attributes[name] = onnx_ir.AttrTensor(name, tensor)
