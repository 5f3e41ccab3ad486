"""Tools of others take a classifier as it is: its predictions, its saved directory, its export."""

from __future__ import annotations

import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import write_csv
from datasets import Dataset
from tiny import LABELS, TEXTS, classifier, train

from nlp_ft import Classifier, load
from nlp_ft.cli.main import main
from nlp_ft.training.save import save_and_verify

SINGLE_TEXTS = [text for text in TEXTS if len(text.split()) > 1]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bert")
    model, tokenizer = classifier("bert", LABELS)
    train(model, tokenizer)
    save_and_verify(model, tokenizer, path, Dataset.from_dict({"text": TEXTS}), 48)
    return path


@pytest.fixture(scope="module")
def loaded(directory: Path) -> Classifier:
    return load(directory, device="cpu")


def _probabilities(loaded: Classifier, texts: Any) -> np.ndarray:
    return np.array([[one.scores[label] for label in LABELS] for one in loaded.predict([str(text) for text in texts])])


def test_shap_explains_it(loaded: Classifier) -> None:
    shap = pytest.importorskip("shap")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        explainer = shap.Explainer(lambda texts: _probabilities(loaded, texts), shap.maskers.Text(r"\W+"))
        values = explainer(SINGLE_TEXTS[:1], max_evals=64, silent=True)
    total = values.base_values[0] + values.values[0].sum(axis=0)
    np.testing.assert_allclose(total, _probabilities(loaded, SINGLE_TEXTS[:1])[0], atol=1e-3)


def test_lime_explains_it(loaded: Classifier) -> None:
    lime_text = pytest.importorskip("lime.lime_text")
    explainer = lime_text.LimeTextExplainer(class_names=LABELS, random_state=0)
    explanation = explainer.explain_instance(
        TEXTS[0], lambda texts: _probabilities(loaded, texts), num_features=4, num_samples=60, labels=(0,)
    )
    assert {word for word, _ in explanation.as_list(label=0)} <= set(TEXTS[0].split())
    np.testing.assert_allclose(explanation.predict_proba, _probabilities(loaded, TEXTS[:1])[0], atol=1e-6)


def test_cleanlab_ranks_labels_by_it(loaded: Classifier) -> None:
    rank = pytest.importorskip("cleanlab.rank")
    scores = _probabilities(loaded, TEXTS)
    labels = scores.argmax(axis=1)
    wrong = labels.copy()
    wrong[2] = scores[2].argmin()
    quality = rank.get_label_quality_scores(wrong, scores, method="self_confidence")
    np.testing.assert_allclose(quality, scores[np.arange(len(wrong)), wrong], atol=1e-6)
    assert quality.argmin() == 2


def test_scikit_learn_learns_from_its_features(loaded: Classifier) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    pipeline = make_pipeline(FunctionTransformer(loaded.embed), LogisticRegression())
    targets = [one.label for one in loaded.predict(TEXTS)]
    targets[0] = next(label for label in LABELS if label != targets[0])
    assert pipeline.fit(TEXTS, targets).predict(TEXTS).shape == (len(TEXTS),)
    assert pipeline.predict_proba(TEXTS).sum(axis=1) == pytest.approx(1)


def test_a_cross_encoder_opens_a_directory_of_pairs(tmp_path: Path) -> None:
    cross_encoder = pytest.importorskip("sentence_transformers").CrossEncoder
    model, tokenizer = classifier("bert", LABELS)
    train(model, tokenizer)
    rows = Dataset.from_dict({"text": TEXTS, "text_pair": TEXTS[::-1]})
    save_and_verify(model, tokenizer, tmp_path, rows, 48)
    pairs = list(pairwise(TEXTS))
    encoder = cross_encoder(str(tmp_path), device="cpu", trust_remote_code=False)
    logits = encoder.predict(pairs, show_progress_bar=False)
    np.testing.assert_allclose(logits, load(tmp_path, device="cpu").logits(pairs, long_documents="truncate"), atol=1e-4)


def test_an_evaluator_scores_the_directory(directory: Path, loaded: Classifier) -> None:
    evaluator = pytest.importorskip("evaluate").evaluator("text-classification")
    from datasets import Features, Value
    from evaluate import EvaluationModule, MetricInfo

    class Accuracy(EvaluationModule):
        """Accuracy, written here as the library would fetch its own."""

        def _info(self) -> Any:
            features = Features({"predictions": Value("int32"), "references": Value("int32")})
            return MetricInfo(description="", citation="", features=features)

        def _compute(self, *, predictions: Any = None, references: Any = None, **_: Any) -> dict[str, float]:
            return {"accuracy": float(np.mean(np.array(predictions) == np.array(references)))}

    answers = [LABELS.index(str(one.label)) for one in loaded.predict(TEXTS, long_documents="truncate")]
    labels = [*answers[:-1], (answers[-1] + 1) % len(LABELS)]
    result = evaluator.compute(
        model_or_pipeline=str(directory),
        data=Dataset.from_dict({"text": TEXTS, "label": labels}),
        metric=Accuracy(),
        label_mapping={label: i for i, label in enumerate(LABELS)},
    )
    assert result["accuracy"] == pytest.approx(1 - 1 / len(TEXTS))


def test_onnxruntime_alone_repeats_an_export(directory: Path, loaded: Classifier, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    from transformers import AutoTokenizer

    write_csv(tmp_path / "rows.csv", [{"text": text, "label": LABELS[i % 3]} for i, text in enumerate(TEXTS)])
    argv = [
        "--model",
        directory,
        "--format",
        "onnx",
        "--test_file",
        tmp_path / "rows.csv",
        "--output",
        tmp_path / "onnx",
    ]
    assert main(["export", *map(str, argv)]) == 0
    session = runtime.InferenceSession(tmp_path / "onnx/model.onnx", providers=["CPUExecutionProvider"])
    encoded = AutoTokenizer.from_pretrained(tmp_path / "onnx", trust_remote_code=False)(
        TEXTS, padding=True, truncation=True, return_tensors="np"
    )
    inputs = {port.name: encoded[port.name].astype(np.int64) for port in session.get_inputs()}
    wanted = loaded.logits(TEXTS, long_documents="truncate")
    np.testing.assert_allclose(session.run(["logits"], inputs)[0], wanted, atol=1e-4)
