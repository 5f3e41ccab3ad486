"""Every architecture and every kind of problem, exported as a user would, repeats its model in any batch and length."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest
from conftest import RunCli
from datasets import Dataset
from tiny import FAMILIES, LABELS, TEXTS, classifier, train

from nlp_ft.evaluation.probabilities import MULTI, REGRESSION, SINGLE
from nlp_ft.inference.classifier import Classifier
from nlp_ft.inference.export.runtime import open_export
from nlp_ft.models.tokenizer import open_tokenizer
from nlp_ft.training.save import load_saved, save_and_verify

pytestmark = pytest.mark.slow
LONG = " ".join(TEXTS)
MEAN = ("bert", "roberta", "distilbert", "modernbert")
CASES = [(name, SINGLE, "stock") for name in FAMILIES if name != "bert"]
CASES += [(name, SINGLE, "mean") for name in MEAN]
CASES += [(name, kind, "stock") for name in ("bert", "gpt2") for kind in (MULTI, REGRESSION)]
ALWAYS = [
    *(("bert", SINGLE, "mean", kind) for kind in ("onnx", "openvino")),
    *((name, SINGLE, "stock", "onnx") for name in ("deberta-v2", "gpt2", "llama")),
    ("gpt2", MULTI, "stock", "onnx"),
]


@pytest.mark.parametrize("kind", ["onnx", "openvino"])
@pytest.mark.parametrize(("family", "problem", "pooling"), CASES)
def test_an_export_repeats_its_model(
    family: str, problem: str, pooling: str, kind: str, tmp_path: Path, run_cli: RunCli
) -> None:
    packages = ("onnxscript", "onnxruntime") if kind == "onnx" else ("openvino",)
    if not all(importlib.util.find_spec(package) for package in packages):
        pytest.skip(f"needs {', '.join(packages)}")
    if (family, problem, pooling, kind) not in ALWAYS and not os.environ.get("NLP_FT_EVERY_EXPORT"):
        pytest.skip("10 seconds each: NLP_FT_EVERY_EXPORT=1 runs it")
    model, tokenizer = classifier(family, [] if problem == REGRESSION else LABELS, problem, pooling=pooling)
    if problem == SINGLE:
        train(model, tokenizer)
    save_and_verify(model, tokenizer, tmp_path / "model", Dataset.from_dict({"text": TEXTS}), 48)
    code, _, err = run_cli(["export", "--model", tmp_path / "model", "--format", kind, "--limit", 8])
    assert code == 0, err
    place = tmp_path / "model" / kind
    graph = Classifier(open_export(place), open_tokenizer(str(place)), "cpu")
    plain = Classifier(load_saved(tmp_path / "model"), open_tokenizer(str(tmp_path / "model")), "cpu")
    wanted = plain.logits([*TEXTS, LONG])
    bound = 1e-5 * max(1.0, float(np.abs(wanted).max()))
    for size in (1, 3, 32):
        np.testing.assert_allclose(graph.logits([*TEXTS, LONG], size), wanted, atol=bound)
    for texts in ([TEXTS[2]], [TEXTS[2]] * 3, [LONG], [LONG, TEXTS[0], TEXTS[2]]):
        for length in (5, 40):
            batch = plain.tokenizer(texts, truncation=True, max_length=length, padding=True, return_tensors="pt")
            got = graph.model(**batch).logits.numpy()
            np.testing.assert_allclose(got, plain.model(**batch).logits.detach().numpy(), atol=bound)
