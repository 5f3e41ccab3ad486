"""The code that a card prints runs where it says, for each kind of model, and answers as the model does."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import write_csv
from running import MULTI, REGRESSION, finetune_tiny, long_rows, problem_rows, run_method
from tiny import checkpoint

import nlp_ft
from nlp_ft.evaluation.report.model_card import renamed

QUICK: dict[str, Any] = {"max_steps": 2, "head_start": "random", "report_to": "none"}
SPLITS = ("train", "validation", "test")


def _files(folder: Path, rows: Callable[[int, int], list[dict[str, Any]]]) -> dict[str, Path]:
    return {split: write_csv(folder / f"{split}.csv", rows(24, seed)) for seed, split in enumerate(SPLITS)}


def _pairs(count: int, seed: int) -> list[dict[str, Any]]:
    rows = problem_rows("single", count, seed)
    return [
        {"text": row["text"], "text_pair": other["text"], "label": row["label"]}
        for row, other in zip(rows, rows[::-1], strict=True)
    ]


def _of(kind: str) -> Callable[[int, int], list[dict[str, Any]]]:
    return lambda count, seed: problem_rows(kind, count, seed)


KINDS: dict[str, tuple[str, Callable[[int, int], list[dict[str, Any]]], dict[str, Any]]] = {
    "single-label": ("bert", _of("single"), {}),
    "multi-label": ("bert", _of(MULTI), {}),
    "regression": ("bert", _of(REGRESSION), {}),
    "pair": ("bert", _pairs, {"text_column_names": "text", "text_pair_column_name": "text_pair"}),
    "decoder": ("llama", _of("single"), {}),
    "LoRA, merged": ("bert", _of("single"), {"use_peft": True}),
    "adapter alone": ("bert", _of("single"), {"use_peft": True, "save_adapter_only": True}),
    "adapter of a decoder": ("llama", _of("single"), {"use_peft": True, "save_adapter_only": True}),
    "adapter, regression": ("gpt2", _of(REGRESSION), {"use_peft": True, "save_adapter_only": True}),
    "adapter, multi-label": ("roberta", _of(MULTI), {"use_peft": True, "save_adapter_only": True}),
    "adapter, pair": (
        "bert",
        _pairs,
        {"text_pair_column_name": "text_pair", "use_peft": True, "save_adapter_only": True},
    ),
    "adapter over a changed base": (
        "bert",
        _of("single"),
        {"use_peft": True, "save_adapter_only": True, "pooling": "mean"},
    ),
    "windows": ("bert", long_rows, {"long_documents": "window", "max_seq_length": 16}),
}


def _code(directory: Path) -> str:
    (code,) = re.findall(r"```python\n(.*?)```", (directory / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    return code


def _run(directory: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, dict[str, Any], list[Any]]:
    """The card's code, run in the folder above the directory: itself, its names, and what its lines answer."""
    monkeypatch.chdir(directory.parent)
    code, names, answers = _code(directory), {}, []
    for statement in re.split(r"\n(?=\S)", code.strip()):
        try:
            answers.append(eval(statement, names))
        except SyntaxError:
            exec(statement, names)
    return code, names, answers


@pytest.mark.parametrize("kind", KINDS)
def test_the_code_of_a_card_runs_and_answers(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    family, rows, flags = KINDS[kind]
    directory = tmp_path / "some where" / "text-classification"  # named like a task, in a folder with a space
    finetune_tiny(directory, checkpoint(family), _files(tmp_path, rows), **QUICK, num_train_epochs=None, **flags)
    code, _, answers = _run(directory, monkeypatch)
    loaded = nlp_ft.load(directory, device="cpu")
    assert "pair" in kind or loaded.inference_config.text_pair is False
    text: Any = ("a text", "another text") if "pair" in kind else "a text"
    (predicted,) = answers[-1]
    assert predicted.scores == loaded.predict([text])[0].scores
    if "adapter" not in kind:
        pipeline = answers[0]
        assert ("text_pair" in code) == ("pair" in kind)
        labels = [one["label"] for one in (pipeline if isinstance(pipeline, list) else [pipeline])]
        assert kind == "regression" or set(labels) <= set(loaded.labels)
        assert kind != "multi-label" or sorted(labels) == sorted(loaded.labels)
    elif "changed" in kind:
        assert "peft" not in code
        assert "Plain peft does not load it" in (directory / "README.md").read_text()
    else:
        texts: list[Any] = ["a text", "a longer text"]
        if "pair" in kind:
            texts = list(zip(texts, ["another text", "one more"], strict=True))
        np.testing.assert_allclose(answers[0].detach().numpy(), loaded.logits(texts), atol=1e-4)
    assert "LABEL_" not in code


@pytest.mark.parametrize("measured", [True, False])
def test_the_code_of_a_zero_shot_card_runs(measured: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = _files(tmp_path, _of("single"))
    flags = {"test_file": files["test"]} if measured else {}
    directory = tmp_path / "above" / "zero"
    run_method(
        importlib.import_module("nlp_ft.methods.fewshot"),
        model_name_or_path=checkpoint("bert"),
        output_dir=directory,
        use_cpu=True,
        labels=["negative", "positive"],
        **flags,
    )
    _, _, answers = _run(directory, monkeypatch)
    assert answers[-1][0].label in ("negative", "positive")
    card = (directory / "README.md").read_text()
    assert "epoch" not in card
    assert "validation 1.000" not in card


def test_a_pushed_cards_code_names_the_model_there_and_nothing_else_is_touched(tmp_path: Path) -> None:
    """A directory may be called like a word of the code."""
    for name in ("text", "text-classification", "pt"):
        directory = tmp_path / name
        finetune_tiny(
            directory, checkpoint("bert"), _files(tmp_path, _pairs), **QUICK, text_pair_column_name="text_pair"
        )
        text = renamed((directory / "README.md").read_text(), name, "me/shop")
        assert (
            'pipeline("text-classification", model="me/shop")({"text": "a text", "text_pair": "another text"}' in text
        )
        assert 'nlp_ft.load("me/shop").predict([("a text", "another text")])' in text
        assert "in the folder above" not in text
        moved = renamed((directory / "README.md").read_text(), "moved", "me/shop")  # the directory was renamed
        assert moved == text
