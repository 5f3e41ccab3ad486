"""Pre-training: masks and losses by hand, and a body that every class and the next run take."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from conftest import RunCli, rows_of, write_csv
from datasets import Dataset
from running import SGD, as_argv, assert_same_weights, finetune_tiny, two_processes
from safetensors.torch import load_file
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)

from nlp_ft.config import DataArguments
from nlp_ft.config.parser import parse
from nlp_ft.data import load_texts, tokenize_texts
from nlp_ft.errors import ConfigError, DataError, ModelError
from nlp_ft.methods import pretrain
from nlp_ft.methods.pretrain.masking import IGNORED, Collator, Masking, with_fixed_masks
from nlp_ft.methods.pretrain.trainer import token_losses
from nlp_ft.training.run_report import RunReport
from nlp_ft.training.sampler import Clock, LengthGroups

pytestmark = pytest.mark.xdist_group("test_pretrain")  # one process makes what its tests share
MASK, SPECIAL = 3, np.array([0, 1, 2, 3, 4])
MASKING = Masking(0.15, MASK, SPECIAL, np.arange(5, 100))
QUICK: dict[str, Any] = {
    "use_cpu": True,
    "num_train_epochs": 3,
    "learning_rate": 3e-3,
    "per_device_train_batch_size": 16,
}


REFUSES = {"--group_column": "texts are read without labels"}


def contract_argv(world: Any) -> list[str]:
    """Flags of a run on the tiny world, for the contract test of all methods."""
    words = {"model_name_or_path": world.checkpoint, "text_file": world.train, "validation_file": world.validation}
    return as_argv(**words, num_train_epochs=2)


def argv_of(output_dir: Path, checkpoint: Path, texts: Path, **flags: Any) -> list[str]:
    return as_argv(**{"model_name_or_path": checkpoint, "text_file": texts, "output_dir": output_dir, **QUICK, **flags})


def run_tiny(output_dir: Path, checkpoint: Path, texts: Path, *extra: str, **flags: Any) -> RunReport:
    return pretrain.run(*parse(*pretrain.ARGUMENTS, argv=[*argv_of(output_dir, checkpoint, texts, **flags), *extra]))


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("texts") / "movies.csv"
    return write_csv(path, rows_of(160, 3))


@pytest.fixture(scope="module")
def made(tiny_bert: Path, texts: Path, tmp_path_factory: pytest.TempPathFactory) -> RunReport:
    """A run of an encoder with a pooler, probed."""
    checkpoint = tmp_path_factory.mktemp("made")
    return run_tiny(checkpoint / "body", tiny_bert, texts, probe_file=texts, label_column_name="label")


def drawn(masking: Masking, ids: np.ndarray, words: np.ndarray | None = None, times: int = 1500) -> tuple[Any, Any]:
    pairs = [masking.draw(ids, words, np.random.default_rng([7, i])) for i in range(times)]
    return np.stack([inputs for inputs, _ in pairs]), np.stack([labels for _, labels in pairs])


def test_of_the_chosen_tokens_80_percent_are_masked_10_random_and_10_stay() -> None:
    ids = np.array([1, *range(10, 33), 2])
    inputs, labels = drawn(MASKING, ids)
    chosen = labels != IGNORED
    assert chosen[:, 1:-1].mean() == pytest.approx(0.15, abs=0.01)
    assert (labels[chosen] == np.broadcast_to(ids, labels.shape)[chosen]).all()
    assert (inputs[~chosen] == np.broadcast_to(ids, labels.shape)[~chosen]).all()
    hidden, kept = inputs[chosen] == MASK, inputs[chosen] == labels[chosen]
    assert hidden.mean() == pytest.approx(0.8, abs=0.02)
    assert kept.mean() == pytest.approx(0.1, abs=0.015)
    assert (~hidden & ~kept).mean() == pytest.approx(0.1, abs=0.015)


def test_every_token_is_as_likely_to_be_chosen_and_special_ones_never_are() -> None:
    ids = np.array([1, 11, 12, 4, 13, 14, 15, 16, 2])
    inputs, labels = drawn(MASKING, ids, times=2500)
    shares = (labels != IGNORED).mean(axis=0)
    assert (shares[[0, 3, 8]] == 0).all()
    assert shares[[1, 2, 4, 5, 6, 7]] == pytest.approx(0.15, abs=0.02)
    random = inputs[(inputs != ids) & (inputs != MASK)]
    assert len(random)
    assert not np.isin(random, SPECIAL).any()


def test_tokens_of_a_word_are_chosen_together_and_meet_the_same_fate() -> None:
    ids, words = np.array([1, 11, 12, 13, 14, 15, 2]), np.array([-1, 0, 0, 0, 1, 2, -1])
    inputs, labels = drawn(MASKING, ids, words, times=2500)
    chosen = labels != IGNORED
    assert chosen[:, [1, 4, 5]].mean(axis=0) == pytest.approx(0.15, abs=0.02)
    assert (chosen[:, 1] == chosen[:, 2]).all()
    assert (chosen[:, 2] == chosen[:, 3]).all()
    whole = inputs[chosen[:, 1]][:, 1:4] == MASK
    assert set(whole.sum(axis=1)) == {0, 3}
    assert not chosen[:, [0, 6]].any()


def test_a_mask_depends_on_seed_epoch_and_place_and_on_nothing_else() -> None:
    rows = [{"input_ids": [1, *range(10, 40), 2], "length": 32, "place": place} for place in range(4)]
    clock = Clock()

    def batch(order: list[int], seed: int = 5) -> dict[int, list[int]]:
        np.random.seed(len(order))
        torch.manual_seed(len(order))
        made = Collator(0, MASKING, seed, clock)([rows[place] for place in order])
        return dict(zip(order, made["input_ids"].tolist(), strict=True))

    first = batch([0, 1, 2, 3])
    assert {**batch([2, 0]), **batch([3]), **batch([1])} == first
    assert len({tuple(ids) for ids in first.values()}) == 4
    assert batch([0, 1, 2, 3], seed=6) != first
    state: Any = type("State", (), {"epoch": 1.0})
    clock.on_epoch_begin(None, state, None)
    assert batch([0, 1, 2, 3]) != first


def test_held_out_masks_are_drawn_once_and_padding_is_never_predicted() -> None:
    rows = Dataset.from_list(
        [{"input_ids": [1, *range(10, 40), 2][:size], "place": i} for i, size in enumerate((32, 20))]
    )
    fixed = with_fixed_masks(rows, MASKING, 0)
    assert fixed["labels"][:] == with_fixed_masks(rows, MASKING, 0)["labels"][:]
    batch = Collator(0, MASKING, 0, Clock(), multiple=8)([*fixed])  # type: ignore[arg-type]
    assert batch["labels"][0].tolist() == fixed["labels"][0]
    assert batch["labels"].shape == (2, 32)
    assert set(batch["labels"][1, 20:].tolist()) == {IGNORED}
    assert batch["attention_mask"].sum(dim=1).tolist() == [32, 20]


def test_held_out_texts_too_short_for_a_mask_are_refused() -> None:
    rows = Dataset.from_list([{"input_ids": [1, 2], "place": 0}])
    with pytest.raises(DataError, match=r"^validation: not one of its tokens is masked; hold out more"):
        with_fixed_masks(rows, MASKING, 0)


def test_a_decoders_labels_are_its_tokens_but_the_first_and_padding_even_where_pad_is_a_token() -> None:
    rows = [{"input_ids": [7, 8, 0, 9], "place": 0}, {"input_ids": [7, 8], "place": 1}]
    batch = Collator(0, None, 0, Clock())(rows)
    assert batch["labels"].tolist() == [[IGNORED, 8, 0, 9], [IGNORED, 8, IGNORED, IGNORED]]


def test_rows_of_an_update_are_of_like_length_and_every_row_is_read_once_an_epoch() -> None:
    lengths = np.random.default_rng(0).integers(5, 100, size=1003)
    clock = Clock()
    first = list(LengthGroups(lengths.tolist(), 16, 0, clock))
    assert sorted(first) == list(range(1003))
    assert list(LengthGroups(lengths.tolist(), 16, 0, clock)) == first
    spreads = [np.ptp(lengths[first[i : i + 16]]) for i in range(0, 992, 16)]
    assert np.mean(spreads) < 10
    state: Any = type("State", (), {"epoch": 2.5})
    clock.on_epoch_begin(None, state, None)
    assert list(LengthGroups(lengths.tolist(), 16, 0, clock)) != first


@pytest.mark.parametrize("family", ["bert", "distilbert", "modernbert", "deberta-v2", "gpt2", "llama"])
def test_losses_are_those_of_transformers_own_classes(family: str) -> None:
    causal = family in tiny.DECODERS
    kind = AutoModelForCausalLM if causal else AutoModelForMaskedLM
    model = kind.from_pretrained(tiny.checkpoint(family)).eval()
    tokenizer = tiny.FAMILIES[family].tokenizer()
    rows = [{"input_ids": tokenizer(text)["input_ids"], "place": i} for i, text in enumerate(tiny.TEXTS)]
    masking = None if causal else Masking.of(tokenizer, 0.3)
    batch = Collator(0, masking, 0, Clock())(rows)
    with torch.no_grad():
        losses, indices = token_losses(model, model.base_model, batch, causal)
        wanted = model(**batch).loss
    assert losses.mean().item() == pytest.approx(wanted.item(), rel=1e-5)
    counts = (batch["labels"] != IGNORED).sum(dim=1)
    assert torch.bincount(indices, minlength=len(rows)).tolist() == counts.tolist()


def test_blocks_hold_every_token_once_and_begin_and_end_as_a_text_does() -> None:
    tokenizer = tiny.FAMILIES["bert"].tokenizer()
    texts = Dataset.from_dict({"text": tiny.TEXTS})
    rows, note = tokenize_texts(texts, tokenizer, 16, group=True, words=True)
    start, end = tokenizer.cls_token_id, tokenizer.sep_token_id
    assert note.startswith(f"texts: 6 texts in {len(rows)} blocks of 16 tokens")
    assert [len(ids) for ids in rows["input_ids"]][:-1] == [16] * (len(rows) - 1)
    assert all(ids[0] == start and ids[-1] == end for ids in rows["input_ids"])
    inner = [token for ids in rows["input_ids"] for token in ids[1:-1] if token != end]
    assert inner == [token for text in tiny.TEXTS for token in tokenizer(text, add_special_tokens=False)["input_ids"]]
    for ids, words in zip(rows["input_ids"], rows["words"], strict=True):
        assert [word == -1 for word in words] == [token in (start, end) for token in ids]


def test_a_decoders_texts_are_put_apart_by_its_end_token() -> None:
    tokenizer = tiny.FAMILIES["llama"].tokenizer()
    rows, _ = tokenize_texts(Dataset.from_dict({"text": ["so so", "Great!"]}), tokenizer, 64, group=True)
    end = tokenizer.eos_token_id
    bare = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("so so", "Great!")]
    assert rows["input_ids"][0] == [tokenizer.bos_token_id, *bare[0], end, *bare[1], end]


def test_words_are_the_tokenizers_own() -> None:
    tokenizer = tiny.FAMILIES["bert"].tokenizer()
    text = "Great! zebra so"
    rows, _ = tokenize_texts(Dataset.from_dict({"text": [text]}), tokenizer, 64, words=True)
    words = rows["words"][0]
    assert words[0] == words[-1] == -1
    assert len(set(words)) == 5  # Great ! zebra so, and the special ones


def texts_of(path: Path, **flags: Any) -> list[str]:
    found = load_texts(DataArguments(**flags), {"train": str(path)}, paragraphs=flags.pop("paragraphs", False))
    return sorted([*found.train["text"], *found.validation["text"]])


def test_a_line_of_a_text_file_is_a_text_and_blank_ones_are_not(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("one\n\n two \nthree\nfour", encoding="utf-8")
    assert texts_of(path) == ["four", "one", "three", "two"]


def test_a_paragraph_of_a_text_file_is_a_text(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("one\ntwo\n\n\nthree\n \nfour\nfive", encoding="utf-8")
    found = load_texts(DataArguments(), {"train": str(path)}, paragraphs=True)
    assert sorted([*found.train["text"], *found.validation["text"]]) == ["four\nfive", "one\ntwo", "three"]


def test_text_files_and_tables_go_together_and_equal_texts_to_one_side(tmp_path: Path) -> None:
    lines = tmp_path / "a.txt"
    lines.write_text("".join(f"text {i % 20}\n" for i in range(60)), encoding="utf-8")
    table = write_csv(tmp_path / "b.csv", [{"review": f"word {i}", "id": i} for i in range(40)])
    found = load_texts(
        DataArguments(text_column_names="review", validation_split_size=0.3), {"train": [str(lines), str(table)]}
    )
    train, held = list(found.train["text"]), list(found.validation["text"])
    assert len(train) + len(held) == 100
    assert not set(train) & set(held)
    assert found.fingerprint["rows"] == {"train": len(train), "validation": len(held)}


def test_a_line_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"one\ncaf\xe9\n")
    with pytest.raises(DataError, match=r"a\.txt:2: byte 0xe9 at offset 7 is not UTF-8"):
        load_texts(DataArguments(), {"train": str(path)})


def test_the_loss_falls_and_perplexity_is_its_exponential(made: RunReport) -> None:
    metrics = json.loads((made.output_dir / "all_results.json").read_text())
    assert metrics["eval_loss"] < metrics["eval_loss_before"] - 0.5
    for when in ("", "_before"):
        assert metrics[f"eval_perplexity{when}"] == pytest.approx(math.exp(metrics[f"eval_loss{when}"]))
    assert made.verdict.startswith("The masked-token loss on 16 held-out rows fell from ")
    assert "It began with a random head" in made.verdict


def test_the_pooler_is_the_checkpoints_bit_for_bit(made: RunReport, tiny_bert: Path) -> None:
    before, after = load_file(tiny_bert / "model.safetensors"), load_file(made.output_dir / "model.safetensors")
    for name in ("pooler.dense.weight", "pooler.dense.bias"):
        assert torch.equal(before[name], after[f"bert.{name}"])
    moved = [name for name, weight in before.items() if not torch.equal(weight, after[f"bert.{name}"])]
    assert len(moved) == len(before) - 2


@pytest.mark.parametrize("kind", [AutoModel, AutoModelForMaskedLM, AutoModelForSequenceClassification])
def test_the_body_loads_whole_in_every_class(made: RunReport, kind: Any) -> None:
    _, info = kind.from_pretrained(made.output_dir, output_loading_info=True)
    assert {key.partition(".")[0] for key in info["missing_keys"]} <= {"classifier"}
    assert not info["mismatched_keys"]


def test_the_report_is_whole_and_holds_no_pickle(made: RunReport) -> None:
    record = json.loads((made.output_dir / "run.json").read_text())
    assert {"arguments", "versions", "seed", "data", "notes", "verdict", "metrics", "log_history"} <= set(record)
    assert record["data"]["rows"] == {"train": 144, "validation": 16}
    assert record["arguments"]["pretrain"]["mlm_probability"] == 0.15
    assert "A body, not a classifier" in (made.output_dir / "README.md").read_text()
    assert not [p for p in made.output_dir.rglob("*") if p.suffix in (".bin", ".pt", ".pth", ".pkl")]


def test_the_probe_is_scored_before_and_after_with_its_standard_error(made: RunReport) -> None:
    metrics = made.metrics
    for name in ("probe", "control_probe_before"):
        share = metrics[f"{name}_accuracy"]
        assert metrics[f"{name}_accuracy_error"] == pytest.approx(math.sqrt(share * (1 - share) / 16))
    assert "Frozen probe on 16 test rows, accuracy (standard error): the checkpoint's body " in made.verdict
    assert any("16 of the probe's 16 test texts are among the unlabelled texts" in note for note in made.notes)


def test_finetune_takes_the_body(made: RunReport, tiny_csv: dict[str, Path], tmp_path: Path) -> None:
    run = finetune_tiny(tmp_path / "run", made.output_dir, tiny_csv, num_train_epochs=1, learning_rate=1e-4)
    before, after = (load_file(place / "model.safetensors") for place in (made.output_dir, run.output_dir))
    body = [name for name in before if name.startswith("bert.")]
    apart = [(before[name] - after[name]).abs().max().item() for name in body]
    assert 0 < max(apart) < 0.01  # from where pre-training left it, and on
    assert "bert.pooler.dense.weight" in body


def test_pretraining_goes_on_from_the_body_with_the_head_it_made(made: RunReport, texts: Path, tmp_path: Path) -> None:
    run = run_tiny(tmp_path / "more", made.output_dir, texts, num_train_epochs=1)
    assert run.metrics["eval_loss_before"] == pytest.approx(made.metrics["eval_loss"], rel=1e-3)
    assert not any("random" in note for note in run.notes)


@pytest.mark.parametrize("family", ["bert", "gpt2", "llama"])
def test_adapters_are_merged_and_the_embeddings_stay_tied(family: str, texts: Path, tmp_path: Path) -> None:
    checkpoint = tiny.checkpoint(family)
    run = run_tiny(tmp_path / "run", checkpoint, texts, use_peft=True, learning_rate=1e-2, lora_r=4)
    assert run.metrics["eval_loss"] < run.metrics["eval_loss_before"]
    kind: Any = AutoModelForCausalLM if family in tiny.DECODERS else AutoModelForMaskedLM
    model, info = kind.from_pretrained(run.output_dir, output_loading_info=True)
    assert not info["missing_keys"]
    assert not list(run.output_dir.rglob("adapter*"))
    before = load_file(checkpoint / "model.safetensors")
    name = {"bert": "embeddings.word_embeddings.weight", "gpt2": "wte.weight", "llama": "embed_tokens.weight"}[family]
    after = model.get_input_embeddings().weight.detach()
    assert torch.equal(after[: len(before[name])], before[name])  # adapters leave the embeddings alone
    if family != "llama":
        assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


def test_whole_words_blocks_and_a_text_file_go_together(texts: Path, tmp_path: Path, tiny_bert: Path) -> None:
    lines = tmp_path / "more.txt"
    lines.write_text("".join(f"{row['text']}\n" for row in rows_of(50, 9)), encoding="utf-8")
    extra = ("--text_file", str(texts), str(lines), "--whole_word_mask", "--group_texts", "--max_seq_length", "32")
    run = run_tiny(tmp_path / "run", tiny_bert, texts, *extra)
    assert run.metrics["eval_loss"] < run.metrics["eval_loss_before"]
    assert AutoTokenizer.from_pretrained(run.output_dir).model_max_length == 64


def test_a_sentence_encoders_pooling_is_carried_over(tiny_bert: Path, texts: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint"
    shutil.copytree(tiny_bert, checkpoint)
    (checkpoint / "1_Pooling").mkdir()
    said = {"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}
    (checkpoint / "1_Pooling" / "config.json").write_text(json.dumps(said))
    run = run_tiny(tmp_path / "run", checkpoint, texts, num_train_epochs=1)
    assert json.loads((run.output_dir / "1_Pooling" / "config.json").read_text()) == said
    assert any("predicting tokens can hurt what its sentence vectors say" in note for note in run.notes)


def test_dropout_is_the_runs_and_not_the_bodys(tiny_bert: Path, texts: Path, tmp_path: Path) -> None:
    run = run_tiny(tmp_path / "run", tiny_bert, texts, num_train_epochs=1, dropout=0.0)
    config = json.loads((run.output_dir / "config.json").read_text())
    assert config["hidden_dropout_prob"] == config["attention_probs_dropout_prob"] == 0.1
    assert config["architectures"] == ["BertForMaskedLM"]


def test_the_control_says_what_a_new_head_alone_would_reach(tiny_bert: Path, texts: Path, tmp_path: Path) -> None:
    run = run_tiny(tmp_path / "run", tiny_bert, texts, with_control=True, num_train_epochs=2)
    assert 0 < run.metrics["control_head_alone_eval_loss"] < run.metrics["eval_loss_before"]
    assert "A new head on the frozen body reaches " in run.verdict
    assert not (run.output_dir / "controls").exists()


@pytest.mark.parametrize("use_peft", [False, True])
def test_a_resumed_run_ends_where_a_straight_one_does(
    tiny_bert: Path, texts: Path, tmp_path: Path, use_peft: bool
) -> None:
    flags: dict[str, Any] = {"use_peft": use_peft, "save_total_limit": 9, "eval_strategy": "steps", "eval_steps": 5}
    flags["num_train_epochs"] = 2
    straight = run_tiny(tmp_path / "straight", tiny_bert, texts, **flags)
    run_tiny(tmp_path / "cut", tiny_bert, texts, **flags)
    for path in (tmp_path / "cut").iterdir():  # as if it had been cut short after step 5, in the first epoch
        if path.is_dir() and path.name != "checkpoint-5":
            shutil.rmtree(path)
        elif path.is_file():
            path.unlink()
    again = run_tiny(tmp_path / "cut", tiny_bert, texts, **flags, resume_from_checkpoint=True)
    one, two = load_file(straight.output_dir / "model.safetensors"), load_file(again.output_dir / "model.safetensors")
    assert max((one[name] - two[name]).abs().max().item() for name in one) < 1e-6
    for name in ("eval_loss", "eval_loss_before"):
        assert again.metrics[name] == pytest.approx(straight.metrics[name], rel=1e-6)


def test_what_means_nothing_is_refused(tiny_bert: Path, texts: Path, tmp_path: Path, run_cli: RunCli) -> None:
    start = ["pretrain", "--model_name_or_path", tiny_bert, "--output_dir", tmp_path / "run", "--use_cpu"]
    texts_given = [*start, "--text_file", texts]
    (tmp_path / "a.csv").write_text("text\n")
    told = {
        (
            "--pooling",
            "mean",
        ): "--pooling means nothing in pretrain: a body has no classifier head; give it to the run that "
        "fine-tunes the body.",
        (
            "--train_file",
            str(tmp_path / "a.csv"),
        ): "--train_file means nothing in pretrain: texts without labels are named by --text_file.",
        (
            "--label_column_name",
            "label",
        ): "--label_column_name means nothing in pretrain: labels are read from --probe_file "
        "alone; name one, or leave it out.",
        ("--mlm_probability", "1.5"): "--mlm_probability must be between 0 and 1, got 1.5.",
        (
            "--metric_for_best_model",
            "accuracy",
        ): "--metric_for_best_model accuracy is not measured here; it can be loss or perplexity.",
    }
    for flags, message in told.items():
        assert run_cli([*texts_given, *flags])[::2] == (2, f"nlp-ft: {message}\n")
    assert run_cli(start)[::2] == (2, "nlp-ft: give --text_file or --dataset_name, one of the two; neither came.\n")
    assert not (tmp_path / "run").exists()


def test_checkpoints_that_cannot_be_pretrained_are_refused(texts: Path, tmp_path: Path, tiny_bert: Path) -> None:
    with pytest.raises(ConfigError, match=r"^this encoder's tokenizer has no mask token"):
        run_tiny(tmp_path / "a", tiny.checkpoint("roberta"), texts)
    with pytest.raises(ModelError, match="a xlnet checkpoint is pre-trained in a way that is not built here"):
        run_tiny(tmp_path / "b", tiny.checkpoint("xlnet"), texts)
    with pytest.raises(ConfigError, match=r"^--whole_word_mask: this checkpoint is a decoder"):
        run_tiny(tmp_path / "c", tiny.checkpoint("gpt2"), texts, whole_word_mask=True)
    pooled = tmp_path / "pooled"
    pooled.mkdir()
    for file in tiny_bert.iterdir():
        (pooled / file.name).write_bytes(file.read_bytes())
    config = json.loads((pooled / "config.json").read_text())
    (pooled / "config.json").write_text(json.dumps({**config, "nlp_ft_pooling": "mean"}))
    with pytest.raises(ModelError, match="pools by mean, so that all its tokens say the same"):
        run_tiny(tmp_path / "d", pooled, texts)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["group_by_length", "sequential"])
def test_two_processes_end_where_one_does(tiny_bert: Path, texts: Path, tmp_path: Path, strategy: str) -> None:
    flags: dict[str, Any] = {
        **{name: SGD[name] for name in ("optim", "optim_args", "dropout")},
        "num_train_epochs": 2,
        "learning_rate": 0.1,
        "train_sampling_strategy": strategy,
        "logging_steps": 1,
    }
    one = run_tiny(tmp_path / "one", tiny_bert, texts, **flags, per_device_train_batch_size=24)
    sizes = {"per_device_train_batch_size": 6, "gradient_accumulation_steps": 2}
    two_processes("pretrain", argv_of(tmp_path / "two", tiny_bert, texts, **flags, **sizes))
    record = json.loads((tmp_path / "two" / "run.json").read_text())
    assert record["arguments"]["processes"] == 2
    assert_same_weights(tmp_path / "one", tmp_path / "two", tiny_bert)
    for name in ("eval_loss", "eval_loss_before"):
        assert record["metrics"][name] == pytest.approx(one.metrics[name], rel=1e-5)
    losses = [[e["loss"] for e in log if "loss" in e] for log in (one.log_history, record["log_history"])]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
