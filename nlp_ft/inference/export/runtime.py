"""An exported graph as `Classifier` uses a model: vetted, opened in its own runtime, called with a tokenizer's batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from transformers import AutoConfig

from nlp_ft.errors import ModelError
from nlp_ft.inference.export.onnx_safety import vet_onnx, vet_openvino
from nlp_ft.models.checkpoint import as_model_error, quiet
from nlp_ft.models.safety.weights import vet_settings

ONNX, OPENVINO = "model.onnx", "openvino_model.xml"
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class Output(NamedTuple):
    """What a call returns; logits: float32 (rows, classes)."""

    logits: torch.Tensor


class GraphModel:
    """Stands where a transformers classifier stands in `Classifier`; it stays on the CPU and in evaluation mode.

    inputs: names of what the graph reads; run: takes them by name as int64 arrays (rows, tokens), returns the logits.
    """

    training = False
    device = torch.device("cpu")

    def __init__(
        self, config: Any, inputs: Sequence[str], run: Callable[[dict[str, np.ndarray]], np.ndarray], name: str
    ) -> None:
        self.config, self.inputs, self._run, self._name = config, tuple(inputs), run, name

    def __call__(self, **batch: Any) -> Output:
        """Logits of a batch as a tokenizer gives it; what the graph does not read is left out. Raises: ModelError."""
        if absent := [name for name in self.inputs if name not in batch]:
            raise ModelError(
                f"{self._name} reads {absent[0]}, and its tokenizer gives {', '.join(batch)}; they belong to two models."
            )
        arrays = {name: np.ascontiguousarray(np.asarray(batch[name]), dtype=np.int64) for name in self.inputs}
        return Output(torch.from_numpy(np.array(self._run(arrays), dtype=np.float32, ndmin=2)))

    def eval(self) -> GraphModel:
        """Itself: a graph has no other mode."""
        return self

    def to(self, *_: Any, **__: Any) -> GraphModel:
        """Itself: the graph was opened for the CPU."""
        return self

    def named_modules(self) -> Iterator[tuple[str, Any]]:
        """None: there are no layers to look into."""
        return iter(())


class OnnxModel(GraphModel):
    """A `model.onnx` in onnxruntime."""


class OpenVinoModel(GraphModel):
    """An `openvino_model.xml` in OpenVINO."""


def is_onnx(directory: Path) -> bool:
    """Whether a directory, or its onnx/, holds a graph for onnxruntime and no weights of its own."""
    return _place(directory, ONNX, "onnx") is not None


def is_openvino(directory: Path) -> bool:
    """Whether a directory, or its openvino/, holds a graph for OpenVINO and no weights of its own."""
    return _place(directory, OPENVINO, "openvino") is not None


def is_export(directory: Path) -> bool:
    """Whether `open_export` is what opens the directory."""
    return is_onnx(directory) or is_openvino(directory)


def open_export(directory: Path) -> GraphModel:
    """The graph of a directory, of whichever kind. Raises: ModelError as `open_onnx`."""
    return open_onnx(directory) if is_onnx(directory) else open_openvino(directory)


def open_onnx(directory: Path) -> OnnxModel:
    """The model of a directory for which `is_onnx` holds, on as many threads as torch uses.

    Raises: ModelError if onnxruntime is not installed, or the directory is hostile, broken or no classifier's.
    """
    place = _place(directory, ONNX, "onnx")
    assert place is not None, f"{directory} holds no {ONNX}"
    runtime: Any = _require("onnxruntime", directory, "onnx")
    _require("onnx", directory, "onnx")
    vet_settings(place)
    vet_onnx(place / ONNX)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()  # onnxruntime by itself takes every core there is
    options.log_severity_level = 4  # what matters is raised
    with as_model_error(str(directory), ONNX):
        session = runtime.InferenceSession(str(place / ONNX), options, providers=["CPUExecutionProvider"])
    kinds = {"tensor(int64)": True}
    inputs = {one.name: kinds.get(one.type, False) for one in session.get_inputs()}
    outputs = {one.name: list(one.shape) for one in session.get_outputs()}
    config = _config(place)
    _check_ports(place / ONNX, inputs, outputs, config.num_labels)
    return OnnxModel(config, [*inputs], lambda arrays: session.run(["logits"], arrays)[0], str(directory))


def open_openvino(directory: Path) -> OpenVinoModel:
    """The model of a directory for which `is_openvino` holds. Raises: ModelError as `open_onnx`."""
    place = _place(directory, OPENVINO, "openvino")
    assert place is not None, f"{directory} holds no {OPENVINO}"
    runtime: Any = _require("openvino", directory, "openvino")
    vet_settings(place)
    vet_openvino(place / OPENVINO)
    settings = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "INFERENCE_PRECISION_HINT": "f32"}
    with as_model_error(str(directory), OPENVINO):
        graph = runtime.Core().compile_model(str(place / OPENVINO), "CPU", settings)
    inputs = {port.get_any_name(): str(port.element_type.to_string()) == "i64" for port in graph.inputs}
    outputs = {port.get_any_name(): [_length(dim) for dim in port.partial_shape] for port in graph.outputs}
    config = _config(place)
    _check_ports(place / OPENVINO, inputs, outputs, config.num_labels)
    return OpenVinoModel(config, [*inputs], lambda arrays: graph(arrays)["logits"], str(directory))


def _length(dimension: Any) -> int | None:
    return dimension.get_length() if dimension.is_static else None


def _place(directory: Path, file: str, folder: str) -> Path | None:
    if any(directory.glob("*.safetensors*")) or (directory / "adapter_config.json").is_file():
        return None
    return next((place for place in (directory, directory / folder) if (place / file).is_file()), None)


def _require(package: str, directory: Path, extra: str) -> Any:
    import importlib

    try:
        return importlib.import_module(package)
    except ImportError:
        raise ModelError(
            f"{directory} is opened with the package {package}, which is not installed: pip install 'nlp_ft[{extra}]'."
        ) from None


def _config(place: Path) -> Any:
    with quiet(), as_model_error(str(place), "configuration"):
        return AutoConfig.from_pretrained(place, trust_remote_code=False)


def _check_ports(path: Path, inputs: Mapping[str, bool], outputs: Mapping[str, list[Any]], labels: int) -> None:
    """What goes in and comes out is a text classifier's. Raises: ModelError."""
    for name, is_integer in inputs.items():
        if name not in _INPUTS or not is_integer:
            raise ModelError(f"{path} reads {name!r}; wanted a classifier, which reads {', '.join(_INPUTS)} as int64.")
    if "logits" not in outputs:
        raise ModelError(f"{path} gives {', '.join(outputs) or 'nothing'}; wanted logits.")
    shape = outputs["logits"]
    if len(shape) != 2 or (isinstance(shape[1], int) and shape[1] != labels):
        raise ModelError(f"{path} gives logits of shape {shape}; wanted one for each of the {labels} labels.")
