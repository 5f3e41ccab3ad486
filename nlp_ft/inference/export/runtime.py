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

ONNX, ONNX_INT8, OPENVINO = "model.onnx", "model_quantized.onnx", "openvino_model.xml"
_ONNX_GRAPHS = (ONNX, ONNX_INT8)  # the exact one first, where both are there
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class Output(NamedTuple):
    """Result of a call; logits: float32 (rows, classes)."""

    logits: torch.Tensor


class GraphModel:
    """A graph in place of a transformers classifier, on the CPU, in evaluation mode.

    inputs: names of the graph's inputs; run: takes them by name as int64 arrays (rows, tokens), returns the logits. place: the
    directory, or the file in it; a pickle holds that alone, which is opened again.
    """

    training = False
    device = torch.device("cpu")

    def __init__(
        self,
        config: PreTrainedConfig,
        inputs: Sequence[str],
        run: Callable[[dict[str, np.ndarray]], np.ndarray],
        place: Path,
    ) -> None:
        self.config, self.inputs, self._run, self._place = config, tuple(inputs), run, place

    def __reduce__(self) -> tuple[Callable[[Path], GraphModel], tuple[Path]]:
        return open_export, (self._place,)

    def __call__(self, **batch: torch.Tensor) -> Output:
        """Logits of a tokenizer's batch; unused inputs are left out.

        Raises: ModelError.
        """
        if missing := [name for name in self.inputs if name not in batch]:
            raise ModelError(
                f"{self._place} reads {missing[0]}, and its tokenizer gives {', '.join(batch)}; they belong to two models."
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
    """A `model.onnx` or `model_quantized.onnx` in onnxruntime."""


class OpenVinoModel(GraphModel):
    """An `openvino_model.xml` in OpenVINO."""


def is_onnx(place: Path) -> bool:
    """Whether a place is an ONNX graph, or it or its onnx/ holds one and no other weights."""
    return find_graph(place, _ONNX_GRAPHS, "onnx") is not None


def is_openvino(place: Path) -> bool:
    """Whether a directory, or its openvino/, holds only an OpenVINO graph."""
    return find_graph(place, (OPENVINO,), "openvino") is not None


def is_export(place: Path) -> bool:
    """Whether `open_export` opens the directory or file."""
    return is_onnx(place) or is_openvino(place)


def open_export(place: Path) -> GraphModel:
    """Open the graph of a directory, of either kind, or a file that is one.

    Of model.onnx and model_quantized.onnx in one directory the first is opened, which is exact.

    Raises: ModelError as `open_onnx`.
    """
    return open_onnx(place) if is_onnx(place) else open_openvino(place)


def open_onnx(place: Path) -> OnnxModel:
    """Open the ONNX model of a directory, on as many threads as torch uses.

    Raises: ModelError if onnxruntime is not installed, or the directory is hostile, broken or no classifier's.
    """
    graph = find_graph(place, _ONNX_GRAPHS, "onnx")
    assert graph is not None, f"{place} holds no {ONNX}"
    runtime = _require("onnxruntime", place, "onnx")
    _require("onnx", place, "onnx")
    vet_settings(graph.parent)
    vet_onnx(graph)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()  # onnxruntime's default is all cores
    options.log_severity_level = 4  # errors are raised
    with as_model_error(str(place), graph.name):
        session = runtime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    is_integer = {"tensor(int64)": True}
    inputs = {port.name: is_integer.get(port.type, False) for port in session.get_inputs()}
    outputs = {port.name: list(port.shape) for port in session.get_outputs()}
    config = _config(_directory_with(place, graph, "config.json"))
    _check_ports(graph, inputs, outputs, config.num_labels)
    return OnnxModel(config, [*inputs], lambda arrays: session.run(["logits"], arrays)[0], place.absolute())


def open_openvino(place: Path) -> OpenVinoModel:
    """Open the OpenVINO model of a directory.

    Raises: ModelError as `open_onnx`.
    """
    path = find_graph(place, (OPENVINO,), "openvino")
    assert path is not None, f"{place} holds no {OPENVINO}"
    runtime = _require("openvino", place, "openvino")
    vet_settings(path.parent)
    vet_openvino(path)
    settings = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "INFERENCE_PRECISION_HINT": "f32"}
    with as_model_error(str(place), OPENVINO):
        graph = runtime.Core().compile_model(str(path), "CPU", settings)
    inputs = {port.get_any_name(): str(port.element_type.to_string()) == "i64" for port in graph.inputs}
    outputs = {port.get_any_name(): [_length(dim) for dim in port.partial_shape] for port in graph.outputs}
    config = _config(_directory_with(place, path, "config.json"))
    _check_ports(path, inputs, outputs, config.num_labels)

    def run(arrays: dict[str, np.ndarray]) -> np.ndarray:
        return graph.infer_new_request(arrays)["logits"]  # calling the graph itself shares one request among threads

    return OpenVinoModel(config, [*inputs], run, place.absolute())


def _length(dimension: Dimension) -> int | None:
    return dimension.get_length() if dimension.is_static else None


def find_graph(place: Path, names: Sequence[str], folder: str) -> Path | None:
    """The graph at a place: itself, or the first of `names` in it or in its `folder`.

    None for a directory with other weights, which come first.
    """
    if place.is_file():
        return place if place.name in names else None
    if any(place.glob("*.safetensors*")) or (place / "adapter_config.json").is_file():
        return None
    files = (candidate / name for candidate in (place, place / folder) for name in names)
    return next((file for file in files if file.is_file()), None)


def tokenizer_directory(place: Path) -> Path:
    """The directory with the tokenizer of an export that `open_export` opens."""
    graph = find_graph(place, _ONNX_GRAPHS, "onnx") or find_graph(place, (OPENVINO,), "openvino")
    return place if graph is None else _directory_with(place, graph, "tokenizer_config.json")


def _directory_with(place: Path, graph: Path, file: str) -> Path:
    """The graph's directory, or the one above it where that alone holds `file`, as exports made elsewhere have it."""
    root = graph.parent.parent if place.is_file() else place
    return root if (root / file).is_file() and not (graph.parent / file).is_file() else graph.parent


def _require(package: str, place: Path, extra: str) -> ModuleType:
    import importlib

    try:
        return importlib.import_module(package)
    except ImportError:
        raise ModelError(
            f"{place} is opened with the package {package}, which is not installed: pip install 'nlp_ft[{extra}]'."
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
