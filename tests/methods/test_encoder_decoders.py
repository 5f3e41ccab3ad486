"""Encoder-decoders (BART, T5) go through every method that can take them; the others say so in one line."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import rows_of, write_csv
from running import MULTI, REGRESSION, SGD, as_argv, long_rows, plain_logits, problem_rows, run_method, two_processes
from tiny import ENCODER_DECODERS, checkpoint, make_checkpoint

import nlp_ft
from nlp_ft.errors import ConfigError, ModelError
from nlp_ft.training.run_report import RunReport

FAST: dict[str, Any] = {"max_steps": 2, "use_cpu": True, "report_to": "none", "per_device_train_batch_size": 8}
SPLITS = ("train", "validation", "test")
TEXTS = ["a lovely film", "a text that holds </s> itself", "</s>", ""]
each = pytest.mark.parametrize("family", ENCODER_DECODERS)

Rows = Callable[[int, int], list[dict[str, Any]]]


def _run(method: str, **flags: Any) -> RunReport:
    return run_method(importlib.import_module(f"nlp_ft.methods.{method}"), **flags)


def _files(folder: Path, rows: Rows = rows_of) -> dict[str, Path]:
    return {f"{split}_file": write_csv(folder / f"{split}.csv", rows(24, seed)) for seed, split in enumerate(SPLITS)}


def _check(run: RunReport, directory: Path | None = None) -> None:
    """The directory is an ordinary classifier: plain transformers and nlp_ft answer alike, marks in texts or not."""
    loaded = nlp_ft.load(directory or run.output_dir, device="cpu")
    np.testing.assert_allclose(loaded.logits(TEXTS), plain_logits(directory or run.output_dir, TEXTS), atol=1e-4)
    alone = np.concatenate([loaded.logits([text]) for text in TEXTS])
    np.testing.assert_allclose(loaded.logits(TEXTS), alone, atol=1e-4)
    assert np.ptp(alone) > 0


FINETUNE: dict[str, tuple[Rows, dict[str, Any]]] = {
    "plain": (rows_of, {}),
    "texts with the end token": (
        lambda n, s: [{**row, "text": f"{row['text']} {i % 3 * '</s>'}"} for i, row in enumerate(rows_of(n, s))],
        {},
    ),
    "multi-label": (lambda n, s: problem_rows(MULTI, n, s), {"head_start": "random"}),
    "regression": (lambda n, s: problem_rows(REGRESSION, n, s), {}),
    "LoRA": (rows_of, {"use_peft": True}),
    "layers": (rows_of, {"freeze_layers": "1", "layerwise_lr_decay": 0.5, "reinit_layers": 1}),
    "unfreezing": (rows_of, {"gradual_unfreezing": 0.5, "augment": "mixup"}),
    "windows": (long_rows, {"long_documents": "window", "max_seq_length": 16, "window_pooling": "attention"}),
}


@pytest.mark.parametrize("kind", FINETUNE)
@each
def test_finetune(family: str, kind: str, tmp_path: Path) -> None:
    rows, flags = FINETUNE[kind]
    files = _files(tmp_path, rows)
    run = _run("finetune", model_name_or_path=checkpoint(family), output_dir=tmp_path / "run", **files, **FAST, **flags)
    assert run.test_logits.ndim == 2
    if kind != "windows":
        _check(run)


@each
def test_an_adapter_alone(family: str, tmp_path: Path) -> None:
    flags: dict[str, Any] = {**FAST, "use_peft": True, "save_adapter_only": True}
    run = _run(
        "finetune", model_name_or_path=checkpoint(family), output_dir=tmp_path / "run", **_files(tmp_path), **flags
    )
    assert nlp_ft.load(run.output_dir, device="cpu").predict(TEXTS)[0].label in ("negative", "positive")


@pytest.mark.parametrize("flags", [{"compare_poolings": True}, {"pooling": "last"}, {"head": "linear"}])
@each
def test_features(family: str, flags: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NLP_FT_CACHE", str(tmp_path / "cache"))
    _check(
        _run(
            "features",
            model_name_or_path=checkpoint(family),
            output_dir=tmp_path / "run",
            use_cpu=True,
            **_files(tmp_path),
            **flags,
        )
    )


@pytest.mark.parametrize(
    "flags",
    [
        {"approach": "contrastive", "num_iterations": 1},
        {"approach": "frozen"},
        {"approach": "finetune", "max_steps": 2},
    ],
)
@each
def test_fewshot(family: str, flags: dict[str, Any], tmp_path: Path) -> None:
    _check(
        _run(
            "fewshot",
            model_name_or_path=checkpoint(family),
            output_dir=tmp_path / "run",
            use_cpu=True,
            **_files(tmp_path),
            **flags,
        )
    )


@each
def test_zero_shot(family: str, tmp_path: Path) -> None:
    labels = {"labels": ["negative", "positive"], "test_file": _files(tmp_path)["test_file"]}
    _check(_run("fewshot", model_name_or_path=checkpoint(family), output_dir=tmp_path / "run", use_cpu=True, **labels))


@each
def test_transfer(family: str, tmp_path: Path) -> None:
    source = write_csv(tmp_path / "source.csv", [{**row, "text": f"yes {row['text']}"} for row in rows_of(24, 9)])
    flags = {**_files(tmp_path), **FAST, "source_file": source, "transfer_shots": 0}
    _check(_run("transfer", model_name_or_path=checkpoint(family), output_dir=tmp_path / "run", **flags))


@each
def test_multitask(family: str, tmp_path: Path) -> None:
    beside = write_csv(
        tmp_path / "beside.csv",
        [{**row, "text": f"{row['text']} {n}"} for n, row in enumerate(problem_rows(REGRESSION, 40, 77))],
    )
    mood = {name: str(path) for name, path in _files(tmp_path).items()}
    tasks = json.dumps({"mood": mood, "score": {"train_file": str(beside)}})
    run = _run("multitask", model_name_or_path=checkpoint(family), output_dir=tmp_path / "run", tasks=tasks, **FAST)
    _check(run, run.output_dir / "mood")
    again = _run(
        "finetune",
        model_name_or_path=run.output_dir / "body",
        output_dir=tmp_path / "again",
        **_files(tmp_path),
        **FAST,
    )
    _check(again)


@each
def test_distill(family: str, tmp_path: Path) -> None:
    files = _files(tmp_path)
    teacher = _run(
        "finetune", model_name_or_path=checkpoint(family), output_dir=tmp_path / "teacher", **files, **FAST
    ).output_dir
    flags: dict[str, Any] = {
        "teacher_name_or_path": teacher,
        "model_name_or_path": teacher,
        "student_layers": "1",
        **files,
        **FAST,
    }
    _check(_run("distill", output_dir=tmp_path / "run", **flags))
    with pytest.raises(ConfigError) as caught:
        _run("distill", output_dir=tmp_path / "match", **flags, match="hidden")
    assert (
        str(caught.value)
        == "--match hidden: layers of an encoder-decoder cannot be matched one by one; leave --match out."
    )


SLOWLY = [pytest.param(name, marks=pytest.mark.slow) for name in ("maml", "reptile", "anil")]


@pytest.mark.parametrize("algorithm", ["fomaml", "proto", *SLOWLY])
@each
def test_meta(family: str, algorithm: str, tmp_path: Path) -> None:
    files = _files(tmp_path)
    flags: dict[str, Any] = {
        "meta_train_file": files["train_file"],
        "meta_test_file": files["test_file"],
        "shots": 2,
        "query": 2,
    }
    flags |= {"test_episodes": 2, "max_steps": 1, "use_cpu": True, "algorithm": algorithm}
    run = _run("meta", model_name_or_path=checkpoint(family), output_dir=tmp_path / "run", **flags)
    _check(_run("finetune", model_name_or_path=run.output_dir, output_dir=tmp_path / "on", **files, **FAST))


@each
def test_pretrain_is_refused_in_a_line(family: str, tmp_path: Path) -> None:
    flags = {"text_file": _files(tmp_path)["train_file"], "output_dir": tmp_path / "run", **FAST}
    with pytest.raises(ModelError) as caught:
        _run("pretrain", model_name_or_path=checkpoint(family), **flags)
    assert str(caught.value).endswith(f"a {family} checkpoint is pre-trained in a way that is not built here.")


@pytest.mark.slow
@each
def test_two_processes_end_where_one_does(family: str, tmp_path: Path) -> None:
    flags = {**_files(tmp_path), **SGD, "model_name_or_path": checkpoint(family), "max_steps": 2, "learning_rate": 0.05}
    flags |= {"head_start": "random", "use_cpu": True, "report_to": "none"}
    one = _run("finetune", output_dir=tmp_path / "one", per_device_train_batch_size=8, **flags)
    two_processes("finetune", as_argv(output_dir=tmp_path / "two", per_device_train_batch_size=4, **flags))
    np.testing.assert_allclose(plain_logits(tmp_path / "two", TEXTS), plain_logits(one.output_dir, TEXTS), atol=1e-3)


def test_rows_tokenized_by_several_processes_are_read_alike(tmp_path: Path) -> None:
    rows, _ = FINETUNE["texts with the end token"]
    flags = {**_files(tmp_path, rows), **FAST, "preprocessing_num_workers": 2}
    _check(_run("finetune", model_name_or_path=checkpoint("bart"), output_dir=tmp_path / "run", **flags))


def test_a_tokenizer_that_ends_no_text_is_told(tmp_path: Path) -> None:
    path = make_checkpoint("t5", tmp_path / "t5")
    tokens = json.loads((path / "tokenizer.json").read_text())
    tokens["post_processor"] = None
    (path / "tokenizer.json").write_text(json.dumps(tokens))
    with pytest.raises(ModelError) as caught:
        _run("finetune", model_name_or_path=path, output_dir=tmp_path / "run", **_files(tmp_path), **FAST)
    assert str(caught.value) == (
        f"{path}: its tokenizer puts no end token (1) after a text, which T5ForSequenceClassification reads; "
        "--tokenizer_name can name another."
    )
