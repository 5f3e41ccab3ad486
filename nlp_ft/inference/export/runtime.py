"""An exported graph used as a model: vetted, opened in its runtime, called."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from transformers import AutoConfig, PreTrainedConfig

from nlp_ft.errors import ModelError
from nlp_ft.inference.export.onnx_safety import vet_onnx, vet_openvino
from nlp_ft.models.checkpoint import as_model_error, quiet
from nlp_ft.models.safety.weights import vet_settings

if TYPE_CHECKING:
    from openvino import Dimension

ONNX, OPENVINO = "model.onnx", "openvino_model.xml"
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class Output(NamedTuple):
    """Result of a call; logits: float32 (rows, classes)."""

    logits: torch.Tensor


class GraphModel:
    """A graph in place of a transformers classifier, on the CPU, in evaluation mode.

    inputs: names of the graph's inputs; run: takes them by name as int64 arrays (rows, tokens), returns the logits. A pickle
    holds the directory alone, which is opened again.
    """

    training = False
    device = torch.device("cpu")

    def __init__(
        self,
        config: PreTrainedConfig,
        inputs: Sequence[str],
        run: Callable[[dict[str, np.ndarray]], np.ndarray],
        directory: Path,
    ) -> None:
        self.config, self.inputs, self._run, self._directory = config, tuple(inputs), run, directory

    def __reduce__(self) -> tuple[Callable[[Path], GraphModel], tuple[Path]]:
        return open_export, (self._directory,)

    def __call__(self, **batch: torch.Tensor) -> Output:
        """Logits of a tokenizer's batch; unused inputs are left out.

        Raises: ModelError.
        """
        if missing := [name for name in self.inputs if name not in batch]:
            raise ModelError(
                f"{self._directory} reads {missing[0]}, and its tokenizer gives {', '.join(batch)}; they belong to two models."
            )
        arrays = {name: np.ascontiguousarray(np.asarray(batch[name]), dtype=np.int64) for name in self.inputs}
        return Output(torch.from_numpy(np.array(self._run(arrays), dtype=np.float32, ndmin=2)))

    def eval(self) -> GraphModel:
        """Return the model itself: a graph has no other mode."""
        return self

    def to(self, *_: object, **__: object) -> GraphModel:
        """Return the model itself: the graph was opened for the CPU."""
        return self

    def named_modules(self) -> Iterator[tuple[str, torch.nn.Module]]:
        """No modules: a graph has no layers."""
        return iter(())


class OnnxModel(GraphModel):
    """A `model.onnx` in onnxruntime."""


class OpenVinoModel(GraphModel):
    """An `openvino_model.xml` in OpenVINO."""


def is_onnx(directory: Path) -> bool:
    """Whether a directory, or its onnx/, holds an ONNX graph and no other weights."""
    return _graph_directory(directory, ONNX, "onnx") is not None


def is_openvino(directory: Path) -> bool:
    """Whether a directory, or its openvino/, holds only an OpenVINO graph."""
    return _graph_directory(directory, OPENVINO, "openvino") is not None


def is_export(directory: Path) -> bool:
    """Whether `open_export` opens the directory."""
    return is_onnx(directory) or is_openvino(directory)


def open_export(directory: Path) -> GraphModel:
    """Open the graph of a directory, of either kind.

    Raises: ModelError as `open_onnx`.
    """
    return open_onnx(directory) if is_onnx(directory) else open_openvino(directory)


def open_onnx(directory: Path) -> OnnxModel:
    """Open the ONNX model of a directory, on as many threads as torch uses.

    Raises: ModelError if onnxruntime is not installed, or the directory is hostile, broken or no classifier's.
    """
    graph_directory = _graph_directory(directory, ONNX, "onnx")
    assert graph_directory is not None, f"{directory} holds no {ONNX}"
    runtime = _require("onnxruntime", directory, "onnx")
    _require("onnx", directory, "onnx")
    vet_settings(graph_directory)
    vet_onnx(graph_directory / ONNX)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()  # onnxruntime's default is all cores
    options.log_severity_level = 4  # errors are raised
    with as_model_error(str(directory), ONNX):
        session = runtime.InferenceSession(str(graph_directory / ONNX), options, providers=["CPUExecutionProvider"])
    is_integer = {"tensor(int64)": True}
    inputs = {port.name: is_integer.get(port.type, False) for port in session.get_inputs()}
    outputs = {port.name: list(port.shape) for port in session.get_outputs()}
    config = _config(graph_directory)
    _check_ports(graph_directory / ONNX, inputs, outputs, config.num_labels)
    return OnnxModel(config, [*inputs], lambda arrays: session.run(["logits"], arrays)[0], directory.absolute())


def open_openvino(directory: Path) -> OpenVinoModel:
    """Open the OpenVINO model of a directory.

    Raises: ModelError as `open_onnx`.
    """
    graph_directory = _graph_directory(directory, OPENVINO, "openvino")
    assert graph_directory is not None, f"{directory} holds no {OPENVINO}"
    runtime = _require("openvino", directory, "openvino")
    vet_settings(graph_directory)
    vet_openvino(graph_directory / OPENVINO)
    settings = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "INFERENCE_PRECISION_HINT": "f32"}
    with as_model_error(str(directory), OPENVINO):
        graph = runtime.Core().compile_model(str(graph_directory / OPENVINO), "CPU", settings)
    inputs = {port.get_any_name(): str(port.element_type.to_string()) == "i64" for port in graph.inputs}
    outputs = {port.get_any_name(): [_length(dim) for dim in port.partial_shape] for port in graph.outputs}
    config = _config(graph_directory)
    _check_ports(graph_directory / OPENVINO, inputs, outputs, config.num_labels)

    def run(arrays: dict[str, np.ndarray]) -> np.ndarray:
        return graph.infer_new_request(arrays)["logits"]  # calling the graph itself shares one request among threads

    return OpenVinoModel(config, [*inputs], run, directory.absolute())


def _length(dimension: Dimension) -> int | None:
    return dimension.get_length() if dimension.is_static else None


def _graph_directory(directory: Path, file: str, folder: str) -> Path | None:
    if any(directory.glob("*.safetensors*")) or (directory / "adapter_config.json").is_file():
        return None
    return next((candidate for candidate in (directory, directory / folder) if (candidate / file).is_file()), None)


def _require(package: str, directory: Path, extra: str) -> ModuleType:
    import importlib

    try:
        return importlib.import_module(package)
    except ImportError:
        raise ModelError(
            f"{directory} is opened with the package {package}, which is not installed: pip install 'nlp_ft[{extra}]'."
        ) from None


def _config(directory: Path) -> PreTrainedConfig:
    with quiet(), as_model_error(str(directory), "configuration"):
        return AutoConfig.from_pretrained(directory, trust_remote_code=False)


def _check_ports(
    path: Path, inputs: Mapping[str, bool], outputs: Mapping[str, Sequence[object]], labels: int | None
) -> None:
    """Check that inputs and outputs are a text classifier's.

    Raises: ModelError.
    """
    for name, is_integer in inputs.items():
        if name not in _INPUTS or not is_integer:
            raise ModelError(f"{path} reads {name!r}; wanted a classifier, which reads {', '.join(_INPUTS)} as int64.")
    if "logits" not in outputs:
        raise ModelError(f"{path} gives {', '.join(outputs) or 'nothing'}; wanted logits.")
    shape = outputs["logits"]
    if len(shape) != 2 or (isinstance(shape[1], int) and shape[1] != labels):
        raise ModelError(f"{path} gives logits of shape {shape}; wanted one for each of the {labels} labels.")
