"""A classifier as a graph, by transformers' own exporters: any batch, any length, logits alone."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from transformers import BatchEncoding, PreTrainedModel, PreTrainedTokenizerBase

from nlp_ft.errors import ConfigError
from nlp_ft.inference.export import ExportError
from nlp_ft.models.checkpoint import quiet

PACKAGES = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "openvino": ("openvino",)}
_OFF = ("use_cache", "use_mems_eval", "output_hidden_states", "output_attentions")  # each would be one more output
_SAMPLE = ("the tale of a hero, told at length and seen with pleasure by all of us", "so so")
_LONGEST_REASON = 300


def require_packages(kind: str) -> None:
    """Refuse a format whose packages are not installed. Raises: ConfigError."""
    for package in PACKAGES[kind]:
        try:
            importlib.import_module(package)
        except ImportError:
            raise ConfigError(
                f"--format {kind} needs the package {package}, which is not installed: pip install 'nlp_ft[{kind}]'."
            ) from None


def trace(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, kind: str) -> Any:
    """A classifier as transformers' ExportedModel, as "onnx" or "openvino"; the model itself is left as it was.

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
        except Exception as error:  # whatever torch, onnxscript and OpenVINO have
            reason = " ".join(str(error).split())[:_LONGEST_REASON] or type(error).__name__
            raise ExportError(f"{name} ({model.config.model_type}) cannot be exported to {kind}: {reason}") from error
    if kind == "onnx":
        _tidy(exported.program)
    return exported


def save(exported: Any, directory: Path) -> None:
    """Write graph, weights, config.json and transformers' own export.json."""
    with _silence():
        exported.save_pretrained(directory)


def _sample(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """Two texts of unlike length; nothing of their sizes may be taken for fixed."""
    encoded: BatchEncoding = tokenizer(list(_SAMPLE), padding=True, truncation=True, return_tensors="pt")
    return {name: value for name, value in encoded.items() if isinstance(value, torch.Tensor)}


@contextlib.contextmanager
def _logits_alone(config: Any) -> Iterator[None]:
    held = {name: getattr(config, name) for name in _OFF if getattr(config, name, None)}
    try:
        for name in held:
            setattr(config, name, False)
        yield
    finally:
        for name, value in held.items():
            setattr(config, name, value)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """The exporters print, warn and log by the page; OpenVINO's converter also reports its use, unless in a CI."""
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


def _tidy(program: Any) -> None:
    """Name the axes batch and length, and drop what tells of the machine: stack traces with the paths of its files."""
    import onnx_ir

    graph = program.graph
    for one in graph.inputs:
        one.shape = onnx_ir.Shape(["batch", "length"])
    ports = {*graph.inputs, *graph.outputs}
    program.metadata_props.clear()
    graph.metadata_props.clear()
    for value in (*ports, *graph.initializers.values()):
        value.metadata_props.clear()
        value.doc_string = None
    for node in graph.all_nodes():
        node.metadata_props.clear()
        node.doc_string = None
        for value in node.outputs:
            value.metadata_props.clear()
            if value not in ports:  # the runtime infers shapes itself, with the names of the axes as they are now
                value.shape = value.type = None
    for one in graph.outputs:
        if one.shape is not None and len(one.shape) == 2:
            one.shape = onnx_ir.Shape(["batch", one.shape[1]])
