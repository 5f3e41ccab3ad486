"""Documents longer than the model: all of their windows are trained on, and one row of logits a document comes of them."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import write_csv
from running import (
    MULTI,
    REGRESSION,
    SGD,
    SINGLE,
    as_argv,
    assert_same_weights,
    finetune_tiny,
    long_rows,
    plain_logits,
    two_processes,
    weights_hash,
)
from safetensors.torch import load_file
from tiny import checkpoint, classifier, lora_classifier, make_tokenizer
from transformers import DataCollatorWithPadding, TrainingArguments

from nlp_ft import load
from nlp_ft.cli.main import method_names
from nlp_ft.config import DataArguments, LongTextArguments
from nlp_ft.config.parser import parse
from nlp_ft.data import TextData, load_data, texts_or_pairs, tokenize
from nlp_ft.data.windows import Windows
from nlp_ft.errors import ConfigError, DataError
from nlp_ft.evaluation.inference_config import LongDocuments
from nlp_ft.inference.pool_windows import pool_windows
from nlp_ft.training.long_texts import STEP, WindowCollator, add_attention, detach_attention, pool, read_windows

LIMIT = 16
WINDOWS: dict[str, Any] = {"max_seq_length": LIMIT, "long_documents": "window", "logging_steps": 1}
POOLINGS = ("mean", "max", "attention")
SIZES = {"train": 40, "validation": 12, "test": 17}
MakeFiles = Callable[..., dict[str, Path]]


@pytest.fixture
def files(tmp_path: Path) -> MakeFiles:
    def make(kind: str = SINGLE, sizes: Mapping[str, int] = SIZES, pairs: bool = False) -> dict[str, Path]:
        found = {}
        for seed, (split, count) in enumerate(sizes.items()):
            rows = long_rows(count, seed, kind)
            if pairs:
                rows = [{"first": "the film", "second": row["text"], "label": row["label"]} for row in rows]
            found[split] = write_csv(tmp_path / f"{split}.csv", rows)
        return found

    return make


def data_of(files: Mapping[str, Path], **columns: Any) -> TextData:
    given: dict[str, Any] = {f"{split}_file": [str(path)] for split, path in files.items()}
    return load_data(DataArguments(**given, **columns))


def texts_in(files: Mapping[str, Path], **columns: Any) -> list[Any]:
    return texts_or_pairs(data_of(files, **columns).test)


# ---- rows


def test_rows_hold_windows_and_the_tokens_of_all_and_the_note_counts_them(tiny_bert: Path, files: MakeFiles) -> None:
    _, tokenizer = classifier(tiny_bert)
    data = data_of(files())
    rows, note = tokenize(data.train, tokenizer, LIMIT, split="train", windows=Windows(None, 3))
    counts = rows["windows"][:]
    assert {len(ids) for ids in rows[0]["input_ids"]} == {rows[0]["length"]}
    for row in rows.to_list():
        assert len(row["input_ids"]) == len(row["attention_mask"]) == row["windows"]
        assert row["length"] == sum(map(len, row["input_ids"]))
        assert max(map(len, row["input_ids"])) <= LIMIT
    long = sum(count > 1 for count in counts)
    assert 0 < long < 40
    assert max(counts) == 3
    assert f"train: {long} of 40 texts ({long / 40:.1%}) longer than 16 tokens, read in " in note
    assert "at most; of " in note
    assert note.endswith("only 3, spread over the text (--max_windows)")


def test_a_blank_text_is_refused_in_windows_as_it_is_without(files: MakeFiles) -> None:
    from nlp_ft.data.rows import make_rows

    data = make_rows(["one", " "], None, [0, 1], SINGLE).data
    messages = []
    for windows in (None, Windows()):
        with pytest.raises(DataError) as caught:
            tokenize(data, make_tokenizer(special=False), split="train", windows=windows)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


# ---- the model


def batch_of(model: Any, tokenizer: Any, counts: list[int]) -> dict[str, Any]:
    """Documents of so many windows, of random tokens."""
    rng = np.random.default_rng(0)
    names = ["input_ids", "attention_mask"]
    rows = []
    for number, count in enumerate(counts):
        ids = [rng.integers(8, 60, LIMIT if i < count - 1 else 5 + number).tolist() for i in range(count)]
        rows.append(
            {"input_ids": ids, "attention_mask": [[1] * len(one) for one in ids], "labels": number % 3, "length": 9}
        )
    batch = dict(WindowCollator(names, DataCollatorWithPadding(tokenizer))(rows))
    batch.pop("length")
    return batch


def rows_at_a_time(train: int, evaluate: int = 64) -> TrainingArguments:
    return TrainingArguments(
        use_cpu=True, per_device_train_batch_size=train, per_device_eval_batch_size=evaluate, report_to="none"
    )


def reader(source: str, pooling: str, size: int, lora: bool = False) -> tuple[Any, Any]:
    model, tokenizer = classifier(source)
    if pooling == "attention":
        from nlp_ft.training.long_texts import WindowAttention

        model.window_attention = WindowAttention(32)
    if lora:
        from nlp_ft.config import LoraArguments
        from nlp_ft.models.classifier import add_lora

        model = add_lora(model, LoraArguments(use_peft=True, lora_r=4, lora_dropout=0.0))
    read_windows(model, pooling, rows_at_a_time(size))
    for name, parameter in model.named_parameters():
        if name.endswith("query"):
            torch.manual_seed(3)
            parameter.data.normal_(std=0.5 / STEP)
    return model, tokenizer


def attention_query(model: Any) -> torch.Tensor | None:
    held = [p for name, p in model.named_parameters() if name.endswith("query") and p.requires_grad and p.ndim == 1]
    return held[0] if held else None


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "modernbert", "xlnet", "gpt2", "llama"])
def test_a_document_has_the_pooled_logits_of_its_windows_each_read_alone(family: str, pooling: str) -> None:
    from nlp_ft.models.heads import final_linear, layer_inputs

    model, tokenizer = reader(family, pooling, 64)
    counts = [1, 4, 2, 1]
    batch = batch_of(model, tokenizer, counts)
    batch.pop("labels")
    plain, _ = classifier(family)
    for one in (model, plain):  # far from zero, so that a wrong window shows
        final_linear(one)[1].weight.data.mul_(50)
    alone, features = [], []
    with torch.no_grad():
        for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True):
            one = {"input_ids": ids[mask.bool()][None], "attention_mask": mask[mask.bool()][None]}
            alone.append(plain(**one).logits[0])
            features += [*layer_inputs(plain, final_linear(plain)[1], [one])]
        got = model(**batch).logits
    query = attention_query(model)
    how = LongDocuments(None, pooling, None if query is None else tuple((query * STEP).tolist()))
    owners = np.repeat(np.arange(4), counts)
    wanted = pool_windows(torch.stack(alone).numpy(), owners, 4, how, torch.cat(features).numpy())
    np.testing.assert_allclose(got.numpy(), wanted, atol=1e-4)
    assert np.abs(wanted).max() > 0.1


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("lora", [False, True])
def test_slices_change_no_logit_and_no_gradient(pooling: str, lora: bool) -> None:
    found = []
    for size in (64, 3):
        model, tokenizer = reader("bert", pooling, size, lora)
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        model.train()
        batch = batch_of(model, tokenizer, [1, 5, 2])
        logits = model(**{name: value for name, value in batch.items() if name != "labels"}).logits
        torch.nn.functional.cross_entropy(logits, batch["labels"]).backward()
        found.append((logits.detach(), {n: p.grad for n, p in model.named_parameters() if p.grad is not None}))
    (one, grads), (other, again) = found
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    assert grads.keys() == again.keys()
    for name, gradient in grads.items():
        torch.testing.assert_close(gradient, again[name], atol=1e-5, rtol=1e-4, msg=name)
    query = attention_query(model)
    assert (query is None) == (pooling != "attention")
    assert query is None or (query.grad is not None and query.grad.abs().max() > 1e-6)


def test_no_more_windows_than_rows_of_a_batch_go_through_the_model_at_a_time() -> None:
    model, tokenizer = classifier("bert")
    sizes: list[int] = []
    model.bert.register_forward_pre_hook(
        lambda module, args, kwargs: sizes.append(len(kwargs.get("input_ids", args[0] if args else None))),
        with_kwargs=True,
    )
    read_windows(model, "mean", rows_at_a_time(4, 8))
    batch = batch_of(model, tokenizer, [1, 7, 3])
    batch.pop("labels")
    with torch.no_grad():
        model.eval()(**batch)
    assert sizes == [8, 3]
    sizes.clear()
    model.train()(**batch).logits.sum().backward()
    assert sizes == [4, 4, 3, 4, 4]  # all but the last are run again on the way back


def test_a_query_of_zeros_is_the_mean_and_a_window_alone_is_itself_to_the_bit() -> None:
    logits, scores = torch.randn(6, 3), torch.zeros(6)
    torch.testing.assert_close(pool(logits, [1, 3, 2], "attention", scores), pool(logits, [1, 3, 2], "mean"))
    for pooling in POOLINGS:
        assert torch.equal(pool(logits, [1] * 6, pooling, torch.randn(6) if pooling == "attention" else None), logits)


@pytest.mark.parametrize("lora", [False, True])
def test_what_is_taken_out_leaves_a_plain_classifier(lora: bool) -> None:
    model, _ = reader("bert", "attention", 4, lora)
    query = attention_query(model)
    assert query is not None
    plain, _ = lora_classifier("bert") if lora else classifier("bert")
    how = detach_attention(model, LongDocuments(5, "attention", (0.0,) * 32))
    assert how == LongDocuments(5, "attention", tuple((query * STEP).tolist()))
    assert model.state_dict().keys() == plain.state_dict().keys()
    assert "forward" not in vars(model.get_base_model() if lora else model)
    if lora:
        assert model.peft_config["default"].modules_to_save == plain.peft_config["default"].modules_to_save
    assert detach_attention(plain, None) == LongDocuments()


# ---- runs


def check_run(out: Path, report: Any, texts: list[Any], pooling: str, stride: int | None = None) -> None:
    """What is saved reads documents as the run did, and plain transformers knows nothing of it."""
    loaded = load(out, device="cpu")
    how = loaded.inference_config.long_documents
    assert (how.pooling, how.stride) == (pooling, stride)
    np.testing.assert_allclose(loaded.logits(texts), report.test_logits, atol=1e-5)
    if pooling == "attention":
        assert how.query is not None
        assert max(map(abs, how.query)) > 1e-5
    cut = loaded.logits(texts, long_documents="truncate")
    spread = np.abs(report.test_logits).max()
    assert np.abs(cut - report.test_logits).max() > 0.01 * spread  # the windows after the first one count
    assert len({one.windows for one in loaded.predict(texts)}) > 2
    for file in out.rglob("*.safetensors"):
        assert not [name for name in load_file(file) if "window" in name]
    if texts and isinstance(texts[0], str):
        np.testing.assert_allclose(plain_logits(out, texts), cut, atol=1e-4)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_loaded_model_answers_documents_as_the_run_did(
    tiny_bert: Path, files: MakeFiles, tmp_path: Path, pooling: str, capsys: pytest.CaptureFixture[str]
) -> None:
    made = files()
    report = finetune_tiny(
        tmp_path / "run", tiny_bert, made, **WINDOWS, window_pooling=pooling, window_stride=3, learning_rate=1e-3
    )
    check_run(tmp_path / "run", report, texts_in(made), pooling, 3)
    assert len(report.test_logits) == 17
    said = capsys.readouterr().out
    assert "train: 26 of 40 texts (65.0%) longer than 16 tokens, read in " in said
    assert "rows, the mean of their windows" in said
    assert json.loads((tmp_path / "run" / "inference.json").read_text())["long_documents"]["pooling"] == pooling


@pytest.mark.parametrize(("kind", "pooling"), [(MULTI, "max"), (REGRESSION, "attention")])
def test_every_problem_type_reads_windows(
    tiny_bert: Path, files: MakeFiles, tmp_path: Path, kind: str, pooling: str
) -> None:
    made = files(kind)
    report = finetune_tiny(
        tmp_path / "run", tiny_bert, made, **WINDOWS, window_pooling=pooling, problem_type=kind, num_train_epochs=1
    )
    check_run(tmp_path / "run", report, texts_in(made, problem_type=kind), pooling)


def test_pairs_have_their_longer_part_in_windows(tiny_bert: Path, files: MakeFiles, tmp_path: Path) -> None:
    made = files(pairs=True)
    columns = {"text_column_names": "first,second"}
    report = finetune_tiny(
        tmp_path / "run", tiny_bert, made, **WINDOWS, **columns, window_pooling="attention", num_train_epochs=1
    )
    check_run(tmp_path / "run", report, texts_in(made, **columns), "attention")


@pytest.mark.parametrize("extra", [[], ["--save_adapter_only"]])
def test_lora_reads_windows_and_its_adapter_directory_knows_nothing_of_attention(
    tiny_bert: Path, files: MakeFiles, tmp_path: Path, extra: list[str]
) -> None:
    made = files()
    out = tmp_path / "run"
    report = finetune_tiny(
        out, tiny_bert, made, [*extra, "--use_peft"], **WINDOWS, window_pooling="attention", num_train_epochs=1
    )
    texts = texts_in(made)
    np.testing.assert_allclose(load(out, device="cpu").logits(texts), report.test_logits, atol=1e-4)
    for file in out.rglob("adapter_config.json"):
        assert "window" not in file.read_text()
        np.testing.assert_allclose(load(file.parent, device="cpu").logits(texts), report.test_logits, atol=1e-4)
    for file in out.rglob("*.safetensors"):
        assert not [name for name in load_file(file) if "window" in name]


def test_a_decoder_reads_windows(files: MakeFiles, tmp_path: Path) -> None:
    made = files()
    report = finetune_tiny(
        tmp_path / "run", checkpoint("gpt2"), made, **WINDOWS, window_pooling="attention", num_train_epochs=1
    )
    np.testing.assert_allclose(
        load(tmp_path / "run", device="cpu").logits(texts_in(made)), report.test_logits, atol=1e-4
    )


def test_half_precision_in_training_leaves_the_answers_in_full(
    tiny_bert: Path, files: MakeFiles, tmp_path: Path
) -> None:
    made = files()
    finetune_tiny(
        tmp_path / "run", tiny_bert, made, **WINDOWS, window_pooling="attention", num_train_epochs=1, bf16=True
    )
    assert load(tmp_path / "run", device="cpu").inference_config.long_documents.pooling == "attention"


@pytest.mark.parametrize("pooling", ["mean", "attention"])
def test_where_no_text_is_long_the_weights_are_those_of_a_run_that_cuts(
    tiny_bert: Path, tiny_csv: dict[str, Path], tmp_path: Path, pooling: str, capsys: pytest.CaptureFixture[str]
) -> None:
    one = finetune_tiny(tmp_path / "cut", tiny_bert, tiny_csv)
    other = finetune_tiny(tmp_path / "run", tiny_bert, tiny_csv, long_documents="window", window_pooling=pooling)
    assert weights_hash(tmp_path / "run") == weights_hash(tmp_path / "cut")
    assert np.array_equal(one.test_logits, other.test_logits)
    assert ("no training text has two, so it cannot be trained" in capsys.readouterr().out) == (pooling != "mean")
    assert (
        load(tmp_path / "run").inference_config.long_documents == LongDocuments()
    )  # the mean is what there is without


def test_one_batch_of_8_and_two_of_4_give_the_same_weights(tiny_bert: Path, files: MakeFiles, tmp_path: Path) -> None:
    made = files()
    flags: dict[str, Any] = {
        **WINDOWS,
        "window_pooling": "attention",
        "max_steps": 4,
        "optim": "sgd",
        "learning_rate": 0.05,
        "dropout": 0.0,
        "max_grad_norm": 0,
        "train_sampling_strategy": "sequential",
    }
    finetune_tiny(tmp_path / "one", tiny_bert, made, **flags, per_device_train_batch_size=8)
    finetune_tiny(
        tmp_path / "two", tiny_bert, made, **flags, per_device_train_batch_size=4, gradient_accumulation_steps=2
    )
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    assert max((one[name] - two[name]).abs().max().item() for name in one) < 1e-5
    queries = [load(tmp_path / name, device="cpu").inference_config.long_documents.query for name in ("one", "two")]
    np.testing.assert_allclose(np.array(queries[0]), np.array(queries[1]), atol=1e-5 * STEP)


@pytest.mark.parametrize("extra", [[], ["--use_peft"]])
def test_a_resumed_run_ends_as_a_straight_one_with_its_query(
    tiny_bert: Path, files: MakeFiles, tmp_path: Path, extra: list[str]
) -> None:
    import shutil

    made = files()
    flags: dict[str, Any] = {
        **WINDOWS,
        "window_pooling": "attention",
        "head_start": "random",
        "learning_rate": 1e-3,
        "num_train_epochs": 3,
        "per_device_train_batch_size": 10,
        "save_total_limit": 9,
    }
    finetune_tiny(tmp_path / "whole", tiny_bert, made, extra, **flags)
    (tmp_path / "cut").mkdir()
    shutil.copytree(tmp_path / "whole" / "checkpoint-4", tmp_path / "cut" / "checkpoint-4")
    finetune_tiny(tmp_path / "cut", tiny_bert, made, extra, **flags, resume_from_checkpoint=True)
    assert weights_hash(tmp_path / "cut") == weights_hash(tmp_path / "whole")
    files_of = [tmp_path / name / "inference.json" for name in ("cut", "whole")]
    assert files_of[0].read_text() == files_of[1].read_text()
    (tmp_path / "cut" / "run.json").unlink()
    flags |= {"window_pooling": "mean", "resume_from_checkpoint": True}
    with pytest.raises(ConfigError, match="to another run: its window_pooling is attention, this one's is mean"):
        finetune_tiny(tmp_path / "cut", tiny_bert, made, extra, **flags)


def test_training_reads_no_more_than_max_windows_and_the_other_splits_all(
    tiny_bert: Path, files: MakeFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = files()
    report = finetune_tiny(tmp_path / "run", tiny_bert, made, **WINDOWS, max_windows=2, num_train_epochs=1)
    check_run(tmp_path / "run", report, texts_in(made), "mean")
    said = capsys.readouterr().out
    train, test = (
        next(line for line in said.splitlines() if line.startswith(f"{n}: ") and "longer" in line)
        for n in ("train", "test")
    )
    assert train.endswith("only 2, spread over the text (--max_windows)")
    assert "max_windows" not in test


def test_texts_that_are_cut_are_said_with_the_flag_that_would_read_them(
    tiny_bert: Path, files: MakeFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = finetune_tiny(tmp_path / "run", tiny_bert, files(), max_seq_length=LIMIT, num_train_epochs=1)
    said = capsys.readouterr().out
    assert "train: 26 of 40 texts (65.0%) cut to 16 tokens (--long_documents window reads such texts whole)\n" in said
    assert said.count("--long_documents") == 1
    assert report.settings["long_texts"]["long_documents"] == "truncate"


# ---- refusals


@pytest.mark.parametrize("method", [name for name in method_names() if name not in ("finetune", "transfer")])
def test_methods_that_read_a_text_as_one_row_refuse_windows(method: str) -> None:
    with pytest.raises(ConfigError, match=r"^--long_documents: "):
        parse(*importlib.import_module(f"nlp_ft.methods.{method}").ARGUMENTS, argv=["--long_documents", "window"])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"window_stride": 4}, "--window_stride needs --long_documents window."),
        ({"window_pooling": "max"}, "--window_pooling needs --long_documents window."),
        ({"max_windows": 4}, "--max_windows needs --long_documents window."),
        ({"long_documents": "window", "window_stride": -1}, "--window_stride must be at least 0, got -1."),
        ({"long_documents": "window", "max_windows": 0}, "--max_windows must be at least 1, got 0."),
    ],
)
def test_flags_that_would_do_nothing_are_refused(flags: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        LongTextArguments(**flags)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"window_stride": 14}, "a stride of 14 tokens leaves nothing new in a window of 14; give a smaller one."),
        (
            {"max_seq_length": 2},
            "--max_seq_length 2: 2 special tokens leave no room for the text; it must be at least 3.",
        ),
    ],
)
def test_windows_that_could_hold_nothing_new_stop_the_run_before_it_trains(
    tiny_bert: Path, files: MakeFiles, tmp_path: Path, flags: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        finetune_tiny(tmp_path / "run", tiny_bert, files(), **{**WINDOWS, **flags})
    assert str(caught.value) == message


def test_attention_is_refused_where_parameters_are_cut_up(tiny_bert: Path) -> None:
    from datasets import Dataset

    model, _ = classifier(tiny_bert)
    args = LongTextArguments(long_documents="window", window_pooling="attention")
    splits = {"train": Dataset.from_dict({"windows": [1, 2]})}
    training = rows_at_a_time(2)
    training.fsdp = True  # type: ignore[assignment]
    with pytest.raises(ConfigError) as caught:
        add_attention(model, args, training, splits)
    assert str(caught.value) == "--window_pooling attention does not go with FSDP or DeepSpeed; use mean or max."


# ---- two processes


@pytest.mark.slow
@pytest.mark.parametrize("extra", [{}, {"use_peft": True, "lora_dropout": 0.0}])
def test_two_processes_take_the_step_of_one(
    tiny_bert: Path, files: MakeFiles, tmp_path: Path, extra: dict[str, Any]
) -> None:
    made = files()
    flags: dict[str, Any] = {
        **WINDOWS,
        **SGD,
        **extra,
        "use_cpu": True,
        "window_pooling": "attention",
        "max_steps": 3,
        "learning_rate": 0.5,
        "head_start": "random",
        "train_sampling_strategy": "sequential",
    }
    finetune_tiny(tmp_path / "one", tiny_bert, made, **flags, per_device_train_batch_size=40)
    chosen = {"model_name_or_path": tiny_bert, "output_dir": tmp_path / "two", "per_device_train_batch_size": 20}
    two_processes("finetune", as_argv(**chosen, **{f"{split}_file": path for split, path in made.items()}, **flags))
    assert_same_weights(tmp_path / "one", tmp_path / "two", tiny_bert)
    queries = [np.array(load(tmp_path / n, device="cpu").inference_config.long_documents.query) for n in ("one", "two")]
    assert np.abs(queries[0]).max() > 1e-5
    np.testing.assert_allclose(queries[0], queries[1], atol=1e-3 * np.abs(queries[0]).max())
    results = [json.loads((tmp_path / name / "all_results.json").read_text()) for name in ("one", "two")]
    for name in ("test_accuracy", "eval_loss", "test_loss"):
        assert results[0][name] == pytest.approx(results[1][name], rel=1e-3)
