"""A classifier as a graph, by transformers' exporters.

The graph takes any batch and any length, and has logits alone.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import torch
from transformers import BatchEncoding, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from nlp_ft.errors import ConfigError
from nlp_ft.inference.export import ExportError
from nlp_ft.models.checkpoint import quiet
from nlp_ft.utils import write_json

if TYPE_CHECKING:
    import onnx_ir
    from transformers import Cache
    from transformers.exporters.base import ExportedModel

PACKAGES = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "openvino": ("openvino",)}
_OUTPUTS_OFF = ("use_cache", "use_mems_eval", "output_hidden_states", "output_attentions")  # each would add an output
_SAMPLE_TEXTS = ("the tale of a hero, told at length and seen with pleasure by all of us", "so so")
_MAX_REASON_LENGTH = 300
_ONE_FILE_BYTES = 2**31 - 2**20  # protobuf's limit, less what the names of the weights may take


def require_packages(kind: str) -> None:
    """Refuse a format whose packages are not installed. Raises: ConfigError."""
    for package in PACKAGES[kind]:
        try:
            importlib.import_module(package)
        except ImportError:
            raise ConfigError(
                f"--format {kind} needs the package {package}, which is not installed: pip install 'nlp_ft[{kind}]'."
            ) from None


def trace(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, kind: str) -> ExportedModel:
    """Export a classifier as "onnx" or "openvino"; the model stays as it was.

    Raises: ExportError, which names the architecture, if its exporter fails.
    """
    sample = _sample(tokenizer)
    dynamic = torch.export.Dim.DYNAMIC
    shapes = {name: {0: dynamic, 1: dynamic} for name in sample}
    name = type(model).__name__
    with _silence(), _logits_alone(model.config):
        try:
            if kind == "onnx":
                from transformers.exporters.configs import OnnxConfig
                from transformers.exporters.exporter_onnx import OnnxExporter

                exported = OnnxExporter().export(model, sample, OnnxConfig(dynamic_shapes=shapes))
            else:
                from transformers.exporters.configs import OpenVINOConfig
                from transformers.exporters.exporter_openvino import OpenVINOExporter

                exported = OpenVINOExporter().export(model, sample, OpenVINOConfig(dynamic_shapes=shapes))
        except Exception as error:  # torch, onnxscript and OpenVINO raise errors of many kinds
            reason = " ".join(str(error).split())[:_MAX_REASON_LENGTH] or type(error).__name__
            raise ExportError(f"{name} ({model.config.model_type}) cannot be exported to {kind}: {reason}") from error
    if kind == "onnx":
        _tidy(exported.program)
    return exported


def save(exported: ExportedModel, directory: Path, file: str = "model.onnx") -> None:
    """Write graph, weights, config.json and transformers' own export.json.

    file: name of an ONNX graph. Its weights are in it, as runtimes that fetch one file want it; those of more than 2 GB, which
    no such file can hold, are in FILE_data beside it, the name that transformers.js asks for.
    """
    with _silence():
        exported.save_pretrained(directory)
        if exported.export_format == "onnx":
            _pack(directory, file)


def _pack(directory: Path, file: str) -> None:
    """Put an ONNX graph and its weights into one file, where that can hold them."""
    import onnx_ir

    written = directory / "model.onnx"
    weights = written.with_name("model.onnx.data")
    program = onnx_ir.load(str(written))
    whole = directory / f"{file}.part"
    if written.stat().st_size + (weights.stat().st_size if weights.exists() else 0) < _ONE_FILE_BYTES:
        onnx_ir.external_data.load_to_model(program)
        onnx_ir.save(program, str(whole))
    else:
        onnx_ir.save(program, str(whole), external_data=f"{file}_data")
    del program  # it maps the file that goes
    weights.unlink(missing_ok=True)
    written.unlink()
    whole.rename(directory / file)
    manifest = directory / "export.json"
    content = json.loads(manifest.read_text(encoding="utf-8"))
    for component in content["components"].values():
        component["file"] = file
    write_json(manifest, content)


def _sample(tokenizer: PreTrainedTokenizerBase) -> dict[str, torch.Tensor | Cache]:
    """Two texts of unlike length.

    Both axes vary, so the exporter fixes no size.
    """
    encoded: BatchEncoding = tokenizer(list(_SAMPLE_TEXTS), padding=True, truncation=True, return_tensors="pt")
    return {name: value for name, value in encoded.items() if isinstance(value, torch.Tensor)}


@contextlib.contextmanager
def _logits_alone(config: PreTrainedConfig) -> Iterator[None]:
    old_values = {name: getattr(config, name) for name in _OUTPUTS_OFF if getattr(config, name, None)}
    try:
        for name in old_values:
            setattr(config, name, False)
        yield
    finally:
        for name, value in old_values.items():
            setattr(config, name, value)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Context: the exporters neither print, warn nor log.

    OpenVINO's converter also reports its use, unless in a CI.
    """
    off = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            quiet(),
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
            mock.patch.dict(os.environ, {"CI": "true"}),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(off)


def _tidy(program: onnx_ir.Model) -> None:
    """Name the axes batch and length, and remove traces of the machine.

    Stack traces in the graph hold the paths of its files.
    """
    import onnx_ir

    graph = program.graph
    for port in graph.inputs:
        port.shape = onnx_ir.Shape(["batch", "length"])
    all_ports = {*graph.inputs, *graph.outputs}
    program.metadata_props.clear()
    graph.metadata_props.clear()
    for value in (*all_ports, *graph.initializers.values()):
        value.metadata_props.clear()
        value.doc_string = None
    for node in graph.all_nodes():
        node.metadata_props.clear()
        node.doc_string = None
        for value in node.outputs:
            value.metadata_props.clear()
            if value not in all_ports:  # the runtime infers shapes itself, with the names of the axes as they are now
                value.shape = value.type = None
    for port in graph.outputs:
        if port.shape is not None and len(port.shape) == 2:
            port.shape = onnx_ir.Shape(["batch", port.shape[1]])
