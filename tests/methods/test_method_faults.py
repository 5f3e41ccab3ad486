"""What methods refuse, compare or say: sources that leak, finished pieces of other settings, flags without effect."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import MakeCsv, rows_of, write_csv
from running import MULTI, REGRESSION, SINGLE, finetune_tiny, problem_rows
from transformers import TrainingArguments

from nlp_ft import checkpoints, training
from nlp_ft.config import DataArguments, FitArguments
from nlp_ft.crossval import cross_validate
from nlp_ft.data import load_data
from nlp_ft.errors import ConfigError, DataError
from nlp_ft.flags import parse
from nlp_ft.jobs import Settings
from nlp_ft.methods import _distill_teacher, distill, features, fewshot, meta, multitask, transfer
from nlp_ft.methods._distill_teacher import Teacher
from nlp_ft.methods._features import _IDLE
from nlp_ft.methods._fewshot import PairTrainer
from nlp_ft.methods._fewshot_choice import title
from nlp_ft.methods._multitask_job import make_sampler
from nlp_ft.methods._transfer import _answers
from nlp_ft.methods.transfer import TransferArguments, source_data
from nlp_ft.metrics import SELECTION_METRIC

QUICK: dict[str, Any] = {"num_train_epochs": 1, "learning_rate": 3e-3, "head_start": "random", "use_cpu": True}


def run(method: Any, **flags: Any) -> Any:
    """`nlp-ft METHOD` in this process; a list is several tokens."""
    argv = [
        str(token)
        for name, value in flags.items()
        for token in (f"--{name}", *(value if isinstance(value, list) else [value]))
    ]
    return method.run(*parse(*method.ARGUMENTS, argv=argv))


@pytest.fixture
def files(make_csv: MakeCsv) -> dict[str, Path]:
    """A source, and a target of other texts under the same labels."""
    sizes = {"source": 40, "train": 30, "validation": 20, "test": 20}
    return {name: make_csv(rows_of(n, seed), f"{name}.csv") for seed, (name, n) in enumerate(sizes.items())}


@pytest.fixture
def split_flags(files: dict[str, Path]) -> dict[str, Path]:
    return {f"{split}_file": files[split] for split in ("train", "validation", "test")}


def stop(*_: Any, **__: Any) -> Any:
    raise AssertionError("a fit was begun")


# ---- transfer: leaks, and what belongs to the target alone


@pytest.mark.parametrize("split", ["train", "validation"])
def test_with_folds_a_source_may_hold_no_row_of_the_target_at_all(
    tiny_bert: Path, make_csv: MakeCsv, split_flags: dict[str, Path], tmp_path: Path, split: str
) -> None:
    del split_flags["validation_file"]
    files: dict[str, Any] = {name: [str(path)] for name, path in split_flags.items()}
    target = load_data(DataArguments(**files), seed=42)
    shown = [{"text": text, "label": "positive"} for text in getattr(target, split)["text"][:3]]
    leaky = make_csv([*rows_of(20, 9), *shown], "leaky.csv")
    flags = {"model_name_or_path": tiny_bert, "source_file": leaky, "transfer_shots": 0, **split_flags, **QUICK}
    with pytest.raises(
        DataError, match=rf"\d of the \d+ {split} rows of the target .* each of them is tested on once;"
    ):
        run(transfer, output_dir=tmp_path / "run", num_folds=2, **flags)


def test_source_rows_of_the_targets_validation_are_told(
    tiny_bert: Path,
    make_csv: MakeCsv,
    split_flags: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    leaky = make_csv([*rows_of(20, 9), *rows_of(20, 2)[:3], *rows_of(30, 1)[:3]], "leaky.csv")
    monkeypatch.setattr(training, "fit", stop)
    flags = {"model_name_or_path": tiny_bert, "source_file": leaky, "transfer_shots": 0, **split_flags, **QUICK}
    with pytest.raises(AssertionError, match="a fit was begun"):
        run(transfer, output_dir=tmp_path / "run", **flags)
    warnings = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 1
    assert " of the 20 validation rows of the target are among its rows, the first " in warnings[0]
    assert warnings[0].endswith("which flatters this source")


def test_what_says_which_rows_are_the_targets_does_not_hold_for_a_source() -> None:
    target = DataArguments(
        train_file=["a.csv", "b.csv"],
        test_file=["t.csv"],
        train_split_name="part",
        mixing=["2", "1"],
        group_column="who",
        num_folds=3,
        max_train_samples=5,
        max_eval_samples=6,
        max_predict_samples=7,
        max_seq_length=99,
        skip_bad_rows=True,
        text_column_names="title",
        text_pair_column_name="body",
        label_column_name="stars",
        problem_type="regression",
    )
    own = TransferArguments(source_file=["s.csv"])
    same: dict[str, Any] = {"text_column_names": "title", "text_pair_column_name": "body", "label_column_name": "stars"}
    plain: dict[str, Any] = {"train_file": ["s.csv"], "max_seq_length": 99, "skip_bad_rows": True}
    assert source_data(target, own, "s.csv") == DataArguments(**plain, **same, problem_type="regression")
    own = TransferArguments(source_file=["s.csv"], source_text_column_names="text", source_label_column_name="mood")
    other = DataArguments(**plain, text_column_names="text", label_column_name="mood")
    assert source_data(target, own, "s.csv") == other


def test_a_source_is_not_held_to_what_was_meant_for_the_targets_kind_of_labels(tmp_path: Path) -> None:
    args = TrainingArguments(
        output_dir=str(tmp_path),
        label_smoothing_factor=0.1,
        metric_for_best_model="f1_macro",
        greater_is_better=True,
        use_cpu=True,
    )
    fit = FitArguments(threshold_metric="f1_macro", class_weights='{"good": 2}')
    settings: Any = SimpleNamespace(training=args, fit=fit)
    target: Any = SimpleNamespace(problem_type=MULTI, labels=["art", "good"])
    for problem, labels, wanted in (
        (MULTI, ["art", "good"], ("f1_macro", True, 0.1, fit)),
        (SINGLE, ["a", "b"], (*SELECTION_METRIC[SINGLE], 0.1, FitArguments())),
        (REGRESSION, [], (*SELECTION_METRIC[REGRESSION], 0.0, FitArguments())),
    ):
        source: Any = SimpleNamespace(problem_type=problem, labels=labels)
        own, held = transfer._suited(settings, source, target)
        assert (own.metric_for_best_model, own.greater_is_better, own.label_smoothing_factor, held) == wanted
    assert (args.metric_for_best_model, args.label_smoothing_factor) == ("f1_macro", 0.1)


# ---- finished pieces are compared with the run that takes them


def cut_after(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop at the fit after so many."""
    fit, fitted = training.fit, []

    def counted(*arguments: Any) -> Any:
        fitted.append(arguments)
        if len(fitted) > count:
            raise KeyboardInterrupt
        return fit(*arguments)

    monkeypatch.setattr(training, "fit", counted)


def test_a_fold_of_other_settings_or_rows_is_refused(
    tiny_bert: Path, make_csv: MakeCsv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = {"train": make_csv(rows_of(40, 0)), "test": make_csv(rows_of(20, 5), "test.csv")}
    flags: dict[str, Any] = {**QUICK, "num_folds": 2}
    cut_after(1, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        finetune_tiny(tmp_path / "run", tiny_bert, table, **flags)
    monkeypatch.setattr(training, "fit", stop)
    flags["resume_from_checkpoint"] = True
    first = tmp_path / "run/folds/1"
    with pytest.raises(ConfigError) as caught:
        finetune_tiny(tmp_path / "run", tiny_bert, table, **{**flags, "learning_rate": 5e-3})
    assert str(caught.value) == (
        f"{first} is finished with other settings: its learning_rate is 0.003, this run's is 0.005; name another "
        f"--output_dir, or remove {first}."
    )
    with pytest.raises(ConfigError, match=r"its warmup_steps is 0\.1, this run's is 3"):
        finetune_tiny(tmp_path / "run", tiny_bert, table, **flags, warmup_steps=3)
    others = {**table, "train": make_csv(rows_of(40, 1), "others.csv")}
    with pytest.raises(ConfigError, match="is finished, and it was made of other rows than this run's; name another"):
        finetune_tiny(tmp_path / "run", tiny_bert, others, **flags)
    with pytest.raises(AssertionError, match="a fit was begun"):  # the second fold: the first one is taken
        finetune_tiny(tmp_path / "run", tiny_bert, table, **flags)
    (first / checkpoints.ASKED).unlink()
    with pytest.raises(ConfigError, match="is finished, but does not say with which settings"):
        finetune_tiny(tmp_path / "run", tiny_bert, table, **flags)


def test_folds_are_compared_by_what_the_caller_names_too(make_csv: MakeCsv, tmp_path: Path) -> None:
    data = load_data(DataArguments(train_file=[str(make_csv(rows_of(40, 0)))]), seed=1)
    args = TrainingArguments(output_dir=str(tmp_path / "run"), use_cpu=True, seed=1)

    def fit_one(part: Any, own: TrainingArguments) -> Any:
        for name, text in {"run.json": "{}", "all_results.json": '{"test_accuracy": 1.0}'}.items():
            (Path(str(own.output_dir)) / name).write_text(text)
        (Path(str(own.output_dir)) / "test_predictions.csv").write_text("text\na\n")

    cross_validate(data, 2, 0.1, args, fit_one, {"class_weights": None})
    cross_validate(data, 2, 0.1, args, stop, {"class_weights": None})
    with pytest.raises(ConfigError, match="its class_weights is None, this run's is balanced"):
        cross_validate(data, 2, 0.1, args, stop, {"class_weights": "balanced"})


def asked(method: Any, folder: Path, checkpoint: Path, **flags: Any) -> Mapping[str, Any]:
    chosen = {"model_name_or_path": checkpoint, "output_dir": folder, "train_file": "a.csv", "use_cpu": True, **flags}
    argv = [str(token) for name, value in chosen.items() for token in (f"--{name}", value)]
    settings = Settings.of("finetune", parse(*method.ARGUMENTS, argv=argv))
    return training.asked(settings.to_dict(settings.training), settings.given)


def test_what_was_asked_tells_a_value_that_was_chosen_from_one_that_was_given(tmp_path: Path, tiny_bert: Path) -> None:
    from nlp_ft.methods import finetune

    plain = asked(finetune, tmp_path, tiny_bert)
    assert plain == asked(finetune, tmp_path, tiny_bert, logging_steps=3, with_control=True)
    for name, value in {
        "learning_rate": 5e-5,
        "num_train_epochs": 3,
        "label_smoothing_factor": 0.1,
        "threshold_metric": "f1_macro",
        "class_weights": "balanced",
        "use_peft": True,
        "max_seq_length": 8,
        "metric_for_best_model": "loss",
        "early_stopping_patience": 2,
    }.items():
        assert plain != asked(finetune, tmp_path, tiny_bert, **{name: value}), name
    assert plain != asked(finetune, tmp_path, tiny_bert, per_device_train_batch_size=8)
    assert plain["weights"] == checkpoints.weights_of(str(tiny_bert))


def test_a_checkpoint_knows_warm_up_and_smoothing(tiny_bert: Path, tiny_csv: dict[str, Path], tmp_path: Path) -> None:
    flags: dict[str, Any] = {**QUICK, "save_strategy": "steps", "save_steps": 2, "per_device_train_batch_size": 16}
    finetune_tiny(tmp_path / "straight", tiny_bert, tiny_csv, **flags, eval_strategy="no")
    shutil.copytree(tmp_path / "straight/checkpoint-2", tmp_path / "cut/checkpoint-2")
    flags["resume_from_checkpoint"] = True
    for name, value in {"warmup_steps": 2, "label_smoothing_factor": 0.2, "data_seed": 3}.items():
        with pytest.raises(ConfigError, match=f"belongs to another run: its {name} is "):
            finetune_tiny(tmp_path / "cut", tiny_bert, tiny_csv, **flags, eval_strategy="no", **{name: value})


def test_a_source_of_other_settings_or_rows_is_refused_and_the_same_is_taken(
    tiny_bert: Path,
    files: dict[str, Path],
    split_flags: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    flags = {"model_name_or_path": tiny_bert, "output_dir": tmp_path / "run", **split_flags, **QUICK}
    flags |= {"source_file": files["source"], "transfer_shots": 0}
    cut_after(1, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        run(transfer, **flags)
    monkeypatch.setattr(training, "fit", stop)
    flags["resume_from_checkpoint"] = True
    with pytest.raises(ConfigError, match=r"sources/source is finished with other settings: its num_train_epochs is 1"):
        run(transfer, **{**flags, "num_train_epochs": 2})
    with pytest.raises(AssertionError, match="a fit was begun"):  # of the target
        run(transfer, **{**flags, "freeze_layers": 1})  # which holds for the target alone
    assert "is finished and taken as it is" in capsys.readouterr().out
    write_csv(files["source"], rows_of(40, 77))
    with pytest.raises(ConfigError, match="sources/source is finished, and it was made of other rows than this run's"):
        run(transfer, **flags)


def test_shots_are_answered_again_for_other_test_rows_and_another_start(
    tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted: list[Any] = []

    def train(job: Any) -> Any:
        fitted.append(job)
        return SimpleNamespace(logits={"validation": np.zeros((1, 2)), "test": np.full((1, 2), len(fitted))})

    monkeypatch.setattr("nlp_ft.methods._transfer.train", train)
    monkeypatch.setattr("nlp_ft.methods._transfer.identity", lambda job: {"seed": 1})
    start = tmp_path / "start"
    shutil.copytree(tiny_bert, start)

    def job(test: str) -> Any:
        data = SimpleNamespace(fingerprint={"sha256": {"test": test}})
        settings = {"model": {"model_name_or_path": str(start)}}
        return SimpleNamespace(data=data, settings=settings, training=SimpleNamespace(output_dir=tmp_path / "run"))

    found = [_answers(job(test), "16-source")["test"][0, 0] for test in ("one", "one", "other")]
    assert found == [1, 1, 2]
    (start / "model.safetensors").write_bytes(b"other weights")
    assert _answers(job("one"), "16-source")["test"][0, 0] == 3


def test_a_distilled_checkpoint_knows_the_unlabelled_texts(
    tiny_bert: Path, make_csv: MakeCsv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = {
        f"{s}_file": make_csv(rows_of(n, k), f"{s}.csv") for k, (s, n) in enumerate({"train": 40, "test": 20}.items())
    }
    teacher = finetune_tiny(tmp_path / "teacher", tiny_bert, {"train": table["train_file"]}, **QUICK)
    identities: list[Mapping[str, Any]] = []

    def train(job: Any) -> Any:
        identities.append(training.identity(job))
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "train", train)
    unlabelled = make_csv([{"text": row["text"]} for row in rows_of(20, 8)], "unlabelled.csv")
    flags = {"teacher_name_or_path": teacher.output_dir, "model_name_or_path": tiny_bert, **table, **QUICK}
    for number, seed in enumerate((8, 9)):
        write_csv(unlabelled, [{"text": row["text"]} for row in rows_of(20, seed)])
        with pytest.raises(KeyboardInterrupt):
            run(distill, output_dir=tmp_path / f"run{number}", unlabelled_file=unlabelled, **flags)
    one, other = identities
    assert one["data"]["unlabelled"] != other["data"]["unlabelled"]
    assert {**one, "data": 0} == {**other, "data": 0}


# ---- the teacher's answers


def test_a_teacher_that_reads_long_texts_another_way_is_asked_again(
    tiny_bert: Path, tiny_csv: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NLP_FT_CACHE", str(tmp_path / "cache"))
    teacher = finetune_tiny(tmp_path / "teacher", tiny_bert, {"train": tiny_csv["train"]}, **QUICK, max_seq_length=16)
    data = load_data(DataArguments(train_file=[str(tiny_csv["train"])]), seed=1)
    long = data.test.map(lambda row: {"text": " ".join([row["text"]] * 4)})
    asked: list[int] = []
    shared = _distill_teacher._shared

    def counted(classifier: Any, texts: Any) -> Any:
        asked.append(len(texts))
        return shared(classifier, texts)

    monkeypatch.setattr(_distill_teacher, "_shared", counted)
    found = []
    for pooling in ("mean", "max", "max"):
        (teacher.output_dir / "inference.json").write_text(json.dumps({"long_documents": {"pooling": pooling}}))
        found.append(Teacher(str(teacher.output_dir), data, torch.device("cpu")).answers(long))
    assert len(asked) == 2
    assert not np.allclose(found[0], found[1])
    assert np.array_equal(found[1], found[2])


# ---- flags that do nothing


def multitask_flags(make_csv: MakeCsv, kinds: dict[str, str]) -> dict[str, Any]:
    tasks = {
        name: {
            f"{split}_file": str(make_csv(problem_rows(kind, n, 10 * k + place), f"{name}_{split}.csv"))
            for place, (split, n) in enumerate({"train": 24, "validation": 12, "test": 12}.items())
        }
        for k, (name, kind) in enumerate(kinds.items())
    }
    return {"tasks": json.dumps(tasks), **QUICK}


def test_thresholds_are_tuned_for_the_tasks_that_have_them(tiny_bert: Path, make_csv: MakeCsv, tmp_path: Path) -> None:
    flags = multitask_flags(make_csv, {"topics": MULTI, "mood": SINGLE})
    flags |= {"model_name_or_path": tiny_bert, "threshold_metric": "f1_macro", "with_control": True}
    found = run(multitask, output_dir=tmp_path / "run", **flags)
    assert "gain_mood_f1_macro" in found.metrics
    runs = {name: json.loads((tmp_path / "run" / name / "run.json").read_text()) for name in ("topics", "mood")}
    metrics = {name: one["arguments"]["fit"]["threshold_metric"] for name, one in runs.items()}
    assert metrics == {"topics": "f1_macro", "mood": None}


def test_thresholds_without_labels_that_have_any_are_refused(
    tiny_bert: Path, tiny_csv: dict[str, Path], make_csv: MakeCsv, tmp_path: Path
) -> None:
    common = {"model_name_or_path": tiny_bert, "output_dir": tmp_path / "run", "threshold_metric": "f1_macro"}
    flags = multitask_flags(make_csv, {"score": REGRESSION, "mood": SINGLE})
    with pytest.raises(ConfigError, match=r"^--threshold_metric: .*; none of these tasks is one\.$"):
        run(multitask, **common, **flags)
    with pytest.raises(ConfigError, match=r"^--threshold_metric: .*; this is a single_label_classification\.$"):
        run(features, **common, **{f"{split}_file": path for split, path in tiny_csv.items()}, use_cpu=True)
    with pytest.raises(ConfigError, match=r"^--threshold_metric means nothing to meta: only multi-label problems"):
        run(meta, **common, meta_train_file="a.csv", meta_test_file="b.csv", use_cpu=True)


NO_EFFECT = "--{} has no effect on --approach {}; leave it out."
TWO_OF_THREE = (
    "--{} has no effect on two of the three approaches that --approach auto compares; give --approach finetune with it, or "
    "leave it out."
)
ZERO_SHOT = "--{} has no effect on zero-shot (--labels), where nothing is trained; leave it out."


@pytest.mark.parametrize("name", ["class_weights", "label_smoothing_factor", "head_start", "metric_for_best_model"])
def test_auto_refuses_what_two_of_its_three_approaches_ignore(tiny_bert: Path, tmp_path: Path, name: str) -> None:
    value = {"class_weights": "balanced", "label_smoothing_factor": 0.1, "head_start": "random"}.get(name, "accuracy")
    refused(tiny_bert, tmp_path, TWO_OF_THREE.format(name), **{name: value})


@pytest.mark.parametrize(
    ("approach", "flags"),
    [
        ("frozen", {"freeze_layers": 1}),
        ("frozen", {"reinit_layers": 1}),
        ("frozen", {"learning_rate": 1e-3}),
        ("frozen", {"num_train_epochs": 1}),
        ("frozen", {"num_iterations": 1}),
        ("frozen", {"max_pairs": 8}),
        ("frozen", {"max_steps": 8}),
        ("finetune", {"max_pairs": 8}),
        ("contrastive", {"train_sampling_strategy": "random"}),
    ],
)
def test_what_an_approach_ignores_is_refused(
    tiny_bert: Path, tmp_path: Path, approach: str, flags: dict[str, Any]
) -> None:
    refused(tiny_bert, tmp_path, NO_EFFECT.format(next(iter(flags)), approach), approach=approach, **flags)


@pytest.mark.parametrize("flags", [{"reinit_layers": 1}, {"learning_rate": 1e-3}, {"freeze_layers": "all"}])
def test_what_zero_shot_ignores_is_refused(tiny_bert: Path, tmp_path: Path, flags: dict[str, Any]) -> None:
    common = {"model_name_or_path": tiny_bert, "output_dir": tmp_path / "run", "use_cpu": True}
    with pytest.raises(ConfigError) as caught:
        run(fewshot, **common, labels=["a", "b"], **flags)
    assert str(caught.value) == ZERO_SHOT.format(next(iter(flags)))


def refused(checkpoint: Path, folder: Path, message: str, **flags: Any) -> None:
    common = {"model_name_or_path": checkpoint, "output_dir": folder / "run", "use_cpu": True}
    with pytest.raises(ConfigError) as caught:
        run(fewshot, **common, train_file="none.csv", **flags)
    assert str(caught.value) == message


def test_controls_are_trained_with_the_flags_that_a_frozen_body_ignores(
    tiny_bert: Path, make_csv: MakeCsv, tmp_path: Path
) -> None:
    flags = {f"{s}_file": make_csv(rows_of(n, n), f"{s}.csv") for s, n in {"train": 16, "test": 12}.items()}
    flags |= {"approach": "frozen", "with_control": True, "max_steps": 1, "max_pairs": 8, "use_cpu": True}
    found = run(fewshot, model_name_or_path=tiny_bert, output_dir=tmp_path / "run", **flags)
    assert {"control_finetune_accuracy", "control_contrastive_accuracy"} <= {*found.metrics}


def test_adapters_are_not_called_full_fine_tuning(tmp_path: Path) -> None:
    argv = ["--model_name_or_path", "a", "--output_dir", str(tmp_path), "--use_cpu", "true"]
    settings = Settings.of("fewshot", parse(*fewshot.ARGUMENTS, argv=argv))
    adapters = replace(settings, lora=replace(settings.lora, use_peft=True))
    assert title("finetune", settings) == "full fine-tuning"
    assert title("finetune", adapters) == "LoRA fine-tuning"
    assert title("frozen", adapters) == "frozen encoder + linear head"


def test_rows_too_few_to_split_do_not_leak_into_themselves(
    tiny_bert: Path, make_csv: MakeCsv, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = {f"{s}_file": make_csv(rows_of(n, n), f"{s}.csv") for s, n in {"train": 2, "test": 12}.items()}
    found = run(
        fewshot, model_name_or_path=tiny_bert, output_dir=tmp_path / "run", approach="frozen", use_cpu=True, **flags
    )
    out = capsys.readouterr().out
    assert "is in train too" not in out
    assert "flatters" not in out
    assert not [note for note in found.notes if "leak" in note]
    assert any("all 2 rows are trained on, and stand for it" in note for note in found.notes)


def test_the_seed_of_the_order_is_its_own(tmp_path: Path) -> None:
    from datasets import Dataset

    tasks: list[Any] = [SimpleNamespace(name=n, splits={"train": range(12)}) for n in ("a", "b")]
    own = SimpleNamespace(sampling="proportional", sampling_temperature=2.0)
    rows = Dataset.from_dict({"length": [3] * 24})

    def order(**seeds: Any) -> list[int]:
        args = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, **seeds)
        return [*make_sampler(tasks, rows, args, own)[0]]

    assert order(seed=1, data_seed=5) == order(seed=2, data_seed=5) == order(seed=5)
    assert order(seed=5) != order(seed=1)


def test_pairs_are_drawn_by_the_seed_of_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []
    monkeypatch.setattr("nlp_ft.methods._fewshot.HeadTrainer.__init__", lambda self, **_: vars(self).update(_))
    monkeypatch.setattr("nlp_ft.methods._fewshot.Pairs", lambda rows, kind, pairs, seed: drawn.append(seed))
    for data_seed in (None, 7):
        args = SimpleNamespace(seed=1, data_seed=data_seed, train_sampling_strategy="")
        PairTrainer(pairs=4, args=args, rows=[], problem_type=SINGLE)
    assert drawn == [1, 7]


def test_meta_refuses_a_seed_that_it_does_not_draw_by(tiny_bert: Path, tmp_path: Path) -> None:
    common = {"model_name_or_path": tiny_bert, "output_dir": tmp_path / "run", "use_cpu": True}
    with pytest.raises(ConfigError, match=r"^--data_seed means nothing to meta: episodes are drawn by --seed\.$"):
        run(meta, **common, meta_train_file="a.csv", meta_test_file="b.csv", data_seed=3)


def test_features_names_every_flag_of_the_optimizer() -> None:
    assert {"optim", "lr_scheduler_type", "max_grad_norm", "warmup_steps", "weight_decay", "data_seed"} <= {*_IDLE}
