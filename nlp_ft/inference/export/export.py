"""Contents of an export: graph, tokenizer, calibration, comparison figures."""

from __future__ import annotations

import json
import shutil
from importlib.metadata import version
from pathlib import Path

import torch

from nlp_ft.evaluation.inference_config import read_inference_config
from nlp_ft.evaluation.probabilities import REGRESSION
from nlp_ft.inference.classifier import Classifier
from nlp_ft.inference.export import ExportError
from nlp_ft.inference.export.parity import POINT, Parity, Rows, measure
from nlp_ft.inference.export.quantize import to_int8
from nlp_ft.inference.export.runtime import ONNX, ONNX_INT8, open_export
from nlp_ft.inference.export.sample_rows import random_texts
from nlp_ft.inference.export.trace import PACKAGES, save, trace
from nlp_ft.models.compare import largest_difference
from nlp_ft.models.tokenizer import open_tokenizer, save_tokenizer
from nlp_ft.utils import versions, write_json

_TITLES = {"onnx": "ONNX", "openvino": "OpenVINO"}
_MEDIUM_LENGTH = 40  # tokens


def write_export(
    stage: Path, name: str, classifier: Classifier, rows: Rows, kind: str, quantize: str | None, batch_size: int
) -> Parity:
    """Write everything an export holds into `stage`, an empty directory.

    name: of the model, for messages. kind: "onnx" or "openvino". quantize: "int8" or None.

    Raises: ExportError if the exporter fails, or the float32 graph does not repeat the model's logits.
    """
    weights = sum(weight.nbytes for weight in classifier.model.state_dict().values()) / 1e6
    engines = [("PyTorch float32", classifier, weights)]
    exported = trace(classifier.model, classifier.tokenizer, kind)
    precisions = {"float32": stage / "float32", quantize: stage} if quantize else {"float32": stage}
    for precision, directory in precisions.items():
        if precision != "float32":
            component = next(iter(exported.components.values()))
            component.program = to_int8(component.program, stage)
        save(exported, directory, ONNX if precision == "float32" else ONNX_INT8)
        _write_tokenizer_and_calibration(directory, classifier)
        graph = _open_exported(directory, classifier)
        engines.append((f"{_TITLES[kind]} {precision}", graph, _megabytes(directory)))
        if precision == "float32":
            _check_logits(name, kind, classifier, graph, rows.texts[:batch_size])
    parity = measure(engines, rows, batch_size, torch.get_num_threads())
    engines.clear()  # they hold files open in the directory to be removed
    shutil.rmtree(stage / "float32", ignore_errors=True)
    _write_figures(stage, parity, kind, quantize)
    return parity


def _write_tokenizer_and_calibration(directory: Path, classifier: Classifier) -> None:
    """Write the tokenizer, with the maximum length, and the calibration.

    The exporter writes the configuration.
    """
    save_tokenizer(classifier.tokenizer, directory, classifier.max_seq_length)
    classifier.inference_config.write(directory)


def _open_exported(directory: Path, classifier: Classifier) -> Classifier:
    """Open the export from its files alone."""
    tokenizer = open_tokenizer(str(directory), trust_remote_code=False)
    return Classifier(open_export(directory), tokenizer, "cpu", read_inference_config(directory, classifier.labels))


def _check_logits(name: str, kind: str, model: Classifier, graph: Classifier, texts: list) -> None:
    """Check that the graph repeats the model's logits.

    Batches of 1 and 3, short, long, padded and as long as the model reads. Raises: ExportError.
    """
    longest = min(model.max_seq_length, 512)
    short, middle, long = random_texts(model, 3, (5, min(_MEDIUM_LENGTH, longest), longest))
    for batch in ([short], [middle], [short, middle, short], [long, short], texts):
        expected, actual = (
            engine.logits(batch, max(len(batch), 1), long_documents="truncate") for engine in (model, graph)
        )
        difference, bound = largest_difference(expected, actual)
        if graph.labels != model.labels or not difference <= bound:
            raise ExportError(
                f"{name}: the {_TITLES[kind]} graph of {type(model.model).__name__} does not repeat its logits (off by "
                f"{difference:.3g}, {bound:.3g} allowed, in a batch of {len(batch)}); nothing was written."
            )


def _megabytes(directory: Path) -> float:
    """Size of graph and weights in megabytes."""
    files = (path for path in directory.iterdir() if path.suffix in (".onnx", ".onnx_data", ".xml", ".bin"))
    return sum(path.stat().st_size for path in files) / 1e6


def _write_figures(stage: Path, parity: Parity, kind: str, quantize: str | None) -> None:
    """Write the table to export.txt, and the figures to `nlp_ft` in export.json.

    The other keys of export.json are those by which transformers opens the export.
    """
    (stage / "export.txt").write_text(parity.table() + "\n", encoding="utf-8")
    manifest = json.loads((stage / "export.json").read_text(encoding="utf-8"))
    installed = {package: version(package) for package in PACKAGES[kind]}
    installed |= {package: versions()[package] for package in ("nlp_ft", "torch", "transformers")}
    manifest["nlp_ft"] = {"quantize": quantize, "parity": parity.as_dict(), "versions": installed}
    write_json(stage / "export.json", manifest)


def check_loss(parity: Parity, name: str) -> None:
    """Refuse an export that loses more than a point.

    Raises: ExportError.
    """
    figure, loss = parity.loss()
    if not loss > POINT + 1e-9:
        return
    if figure == "agreement" and parity.problem_type == REGRESSION:
        result = f"has a Pearson's r of {1 - loss:.3f} with the model's numbers"
    elif figure == "agreement":
        result = f"answers {100 * loss:.1f} % of the rows otherwise"
    else:
        result = f"loses {100 * loss:.1f} points of {figure}"
    raise ExportError(
        f"{name}: {parity.lines[-1].name} {result}, on {parity.rows} rows of {parity.source}; nothing was written. More "
        "than one point is too much: export without --quantize, or accept it with --allow_loss."
    )
