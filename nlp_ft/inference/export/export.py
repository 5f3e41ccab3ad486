"""The contents of an export: graph, tokenizer, calibration, and the figures that say what it is worth."""

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
from nlp_ft.inference.export.runtime import open_export
from nlp_ft.inference.export.sample_rows import random_texts
from nlp_ft.inference.export.trace import PACKAGES, save, trace
from nlp_ft.models.compare import largest_difference
from nlp_ft.models.tokenizer import open_tokenizer, save_tokenizer
from nlp_ft.utils import versions, write_json

_TITLES = {"onnx": "ONNX", "openvino": "OpenVINO"}
_LONG = 40  # tokens of a text that is not short


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
    for precision, place in precisions.items():
        if precision != "float32":
            component = next(iter(exported.components.values()))
            component.program = to_int8(component.program, stage)
        save(exported, place)
        _accompany(place, classifier)
        graph = _opened(place, classifier)
        engines.append((f"{_TITLES[kind]} {precision}", graph, _megabytes(place)))
        if precision == "float32":
            _must_repeat(name, kind, classifier, graph, rows.texts[:batch_size])
    found = measure(engines, rows, batch_size, torch.get_num_threads())
    engines.clear()  # what is open in the directory that goes
    shutil.rmtree(stage / "float32", ignore_errors=True)
    _record(stage, found, kind, quantize)
    return found


def _accompany(place: Path, classifier: Classifier) -> None:
    """Tokenizer, which says where texts are cut, and calibration; the configuration is there."""
    save_tokenizer(classifier.tokenizer, place, classifier.max_seq_length)
    classifier.inference_config.write(place)


def _opened(place: Path, classifier: Classifier) -> Classifier:
    """The export from its files alone."""
    tokenizer = open_tokenizer(str(place), trust_remote_code=False)
    return Classifier(open_export(place), tokenizer, "cpu", read_inference_config(place, classifier.labels))


def _must_repeat(name: str, kind: str, model: Classifier, graph: Classifier, texts: list) -> None:
    """Batches of 1 and 3, short, long, padded and as long as the model reads. Raises: ExportError."""
    longest = min(model.max_seq_length, 512)
    short, middle, long = random_texts(model, 3, (5, min(_LONG, longest), longest))
    for batch in ([short], [middle], [short, middle, short], [long, short], texts):
        wanted, got = (one.logits(batch, max(len(batch), 1), long_documents="truncate") for one in (model, graph))
        difference, bound = largest_difference(wanted, got)
        if graph.labels != model.labels or not difference <= bound:
            raise ExportError(
                f"{name}: the {_TITLES[kind]} graph of {type(model.model).__name__} does not repeat its logits (off by "
                f"{difference:.3g}, {bound:.3g} allowed, in a batch of {len(batch)}); nothing was written."
            )


def _megabytes(place: Path) -> float:
    """Of graph and weights."""
    files = (path for path in place.iterdir() if path.suffix in (".onnx", ".data", ".xml", ".bin"))
    return sum(path.stat().st_size for path in files) / 1e6


def _record(stage: Path, found: Parity, kind: str, quantize: str | None) -> None:
    """The table as export.txt, and as `nlp_ft` in export.json, whose other keys are what transformers opens it by."""
    (stage / "export.txt").write_text(found.table() + "\n", encoding="utf-8")
    manifest = json.loads((stage / "export.json").read_text(encoding="utf-8"))
    held = {package: version(package) for package in PACKAGES[kind]}
    held |= {package: versions()[package] for package in ("nlp_ft", "torch", "transformers")}
    manifest["nlp_ft"] = {"quantize": quantize, "parity": found.as_dict(), "versions": held}
    write_json(stage / "export.json", manifest)


def check_loss(found: Parity, name: str) -> None:
    """Refuse a last line that loses more than a point. Raises: ExportError."""
    figure, loss = found.loss()
    if not loss > POINT + 1e-9:
        return
    if figure == "agreement" and found.problem_type == REGRESSION:
        how = f"has a Pearson's r of {1 - loss:.3f} with the model's numbers"
    elif figure == "agreement":
        how = f"answers {100 * loss:.1f} % of the rows otherwise"
    else:
        how = f"loses {100 * loss:.1f} points of {figure}"
    raise ExportError(
        f"{name}: {found.lines[-1].name} {how}, on {found.rows} rows of {found.source}; nothing was written. More than one "
        "point is too much: export without --quantize, or accept it with --allow_loss."
    )
