"""Distillation: its losses by hand, labels by name, a teacher asked once, students that plain transformers loads."""

import copy
import json
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import GOOD, MakeCsv, rows_of, write_csv
from running import (
    MULTI,
    ONE_EPOCH,
    REGRESSION,
    SGD,
    SINGLE,
    as_argv,
    assert_same_weights,
    finetune_tiny,
    plain_logits,
    problem_rows,
    run_method,
    two_processes,
    weights_hash,
)
from tiny import checkpoint, classifier
from transformers import AutoModelForSequenceClassification

from nlp_ft.config import DataArguments
from nlp_ft.config.augmentation import AugmentArguments
from nlp_ft.config.parser import parse
from nlp_ft.data import load_data
from nlp_ft.errors import ConfigError, DataError
from nlp_ft.methods import distill
from nlp_ft.methods.distill import report as distill_report
from nlp_ft.methods.distill import teacher as distill_teacher
from nlp_ft.methods.distill.arguments import DistillArguments
from nlp_ft.methods.distill.job import control_job, student_job
from nlp_ft.methods.distill.report import agreement, retention, seconds_per_text
from nlp_ft.methods.distill.teacher import Teacher, read_unlabelled
from nlp_ft.methods.distill.trainer import DistillationLoss, attention_losses, evenly_mapped, hidden_losses, soft_losses
from nlp_ft.training import fit
from nlp_ft.training.fit import train
from nlp_ft.training.job import read
from nlp_ft.training.losses import ClassifierLoss
from nlp_ft.training.run_report import RunReport
from nlp_ft.training.settings import Settings

NAMES = {SINGLE: ["negative", "positive"], MULTI: ["art", "bad", "film", "good"], REGRESSION: []}
QUICK: dict[str, Any] = {
    "learning_rate": 3e-3,
    "num_train_epochs": 2,
    "per_device_train_batch_size": 8,
    "head_start": "random",
}


def contract_argv(world: Any) -> list[str]:
    """Flags of a run on a tiny world whose teacher is a classifier of two layers and random weights."""
    labels = {SINGLE: None, REGRESSION: None, MULTI: ["film", "negative", "positive"]}[world.problem_type]
    teacher = save_teacher(world.checkpoint, world.folder / "teacher", labels, world.problem_type)
    files = {f"{split}_file": getattr(world, split) for split in ("train", "validation", "test")}
    own = {"teacher_name_or_path": teacher, "model_name_or_path": teacher, "student_layers": "1"}
    return as_argv(**own, **files, num_train_epochs=1, learning_rate=3e-3)


def save_teacher(source: Path, folder: Path, labels: list[str] | None = None, kind: str = SINGLE) -> Path:
    """A classifier with a head of random weights, which is a teacher as good as any to compare numbers with."""
    model, tokenizer = classifier(source, NAMES[kind] if labels is None else labels, kind)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1 and parameter.shape[0] == model.config.num_labels:
                parameter.copy_(torch.arange(len(parameter)) / 3)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NLP_FT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(distill_report, "_TEXTS", {1: 2, 32: 32})  # enough to be timed at all


@pytest.fixture
def files(make_csv: MakeCsv) -> Any:
    def make(kind: str = SINGLE) -> dict[str, Path]:
        sizes = {"train": 40, "validation": 30, "test": 32}
        return {s: make_csv(problem_rows(kind, n, seed), f"{s}.csv") for seed, (s, n) in enumerate(sizes.items())}

    return make


@pytest.fixture
def teacher(tiny_bert: Path, tmp_path: Path) -> Path:
    return save_teacher(tiny_bert, tmp_path / "teacher")


def argv_of(output_dir: Path, source: Path, files: dict[str, Path], **flags: Any) -> list[str]:
    named = {f"{split}_file": path for split, path in files.items()}
    return as_argv(
        **{"model_name_or_path": source, "output_dir": output_dir, **named, "use_cpu": True, **QUICK, **flags}
    )


def arguments(output_dir: Path, source: Path, files: dict[str, Path], extra: Any = (), **flags: Any) -> Any:
    return parse(*distill.ARGUMENTS, argv=[*argv_of(output_dir, source, files, **flags), *extra])


def run(output_dir: Path, source: Path, files: dict[str, Path], extra: Any = (), **flags: Any) -> RunReport:
    return distill.run(*arguments(output_dir, source, files, extra, **flags))


def job_of(*args: Any, **flags: Any) -> Any:
    settings = Settings.of("distill", arguments(*args, **flags), DistillArguments)
    data = read(settings)
    return student_job(
        data, settings, Teacher(settings.method_arguments.teacher_name_or_path, data, torch.device("cpu"))
    ), settings


# ---- the maths


def test_the_soft_loss_of_two_rows_is_the_divergence_by_hand() -> None:
    student, teacher = [[1.0, 3.0], [0.0, -2.0]], [[2.0, 0.0], [0.0, -2.0]]

    def softened(row: list[float]) -> list[float]:
        powers = [math.exp(value / 2) for value in row]
        return [power / sum(powers) for power in powers]

    p, q = softened(teacher[0]), softened(student[0])
    by_hand = 4 * sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    found = soft_losses(torch.tensor(student), torch.tensor(teacher), SINGLE, 2.0)
    assert found.tolist() == pytest.approx([by_hand, 0.0], abs=1e-6)
    assert by_hand > 1


def test_the_soft_loss_of_two_labels_is_their_mean_divergence_between_yes_and_no() -> None:
    def sigmoid(value: float) -> float:
        return 1 / (1 + math.exp(-value))

    pairs = [(1.0, -2.0), (0.5, 3.0)]  # student, teacher
    cells = []
    for ours, theirs in pairs:
        p, q = sigmoid(theirs / 3), sigmoid(ours / 3)
        cells.append(p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q)))
    found = soft_losses(torch.tensor([[a for a, _ in pairs]]), torch.tensor([[b for _, b in pairs]]), MULTI, 3.0)
    assert found.item() == pytest.approx(9 * sum(cells) / 2, rel=1e-5)


def test_the_soft_loss_of_a_regression_is_the_squared_difference_at_any_temperature() -> None:
    ours, theirs = torch.tensor([[1.0], [4.0]]), torch.tensor([[3.0], [4.5]])
    for temperature in (1.0, 5.0):
        assert soft_losses(ours, theirs, REGRESSION, temperature).tolist() == [4.0, 0.25]


def test_logits_of_another_shape_are_refused_and_huge_ones_are_finite() -> None:
    with pytest.raises(DataError) as error:
        soft_losses(torch.zeros(2, 3), torch.zeros(2, 2), SINGLE, 1.0)
    assert str(error.value) == "the student's logits are (2, 3), the teacher's (2, 2)."
    far = torch.tensor([[1e4, -1e4]])
    assert soft_losses(far, -far, SINGLE, 1.0).isfinite().all()
    assert soft_losses(far, -far, MULTI, 1.0).isfinite().all()


@pytest.mark.parametrize("kind", [SINGLE, MULTI])
def test_the_square_of_the_temperature_keeps_the_size_of_the_gradient(kind: str) -> None:
    generator = torch.Generator().manual_seed(0)
    ours, theirs = (2 * torch.randn(64, 4, generator=generator) for _ in range(2))

    def size(temperature: float, *, squared: bool) -> float:
        logits = ours.clone().requires_grad_(True)
        loss = soft_losses(logits, theirs, kind, temperature).mean() / (1 if squared else temperature**2)
        return torch.autograd.grad(loss, logits)[0].norm().item()

    assert 0.5 < size(8, squared=True) / size(1, squared=True) < 2
    assert size(8, squared=False) < size(1, squared=False) / 30


def test_layers_are_compared_over_tokens_that_are_not_masked() -> None:
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
    ours, theirs = torch.zeros(2, 3, 2), torch.zeros(2, 3, 2)
    ours[0, 0] = torch.tensor([1.0, 3.0])  # (1 + 9) / 2 = 5 of one token in two
    ours[0, 2] = 100.0  # masked
    ours[1, 2] = 3.0  # 9 of one token in three
    assert hidden_losses(ours, theirs, mask).tolist() == pytest.approx([2.5, 3.0])
    seen, shown = torch.zeros(2, 2, 3, 3), torch.zeros(2, 2, 3, 3)
    seen[0, 0, 0, 1] = 2.0  # 4 in one head of two, one pair of tokens in four
    seen[0, :, 2, :] = seen[0, :, :, 2] = 100.0
    assert attention_losses(seen, shown, mask).tolist() == pytest.approx([0.5, 0.0])


def test_layers_are_mapped_evenly_and_the_last_to_the_last() -> None:
    assert evenly_mapped(3, 6) == [2, 4, 6]
    assert evenly_mapped(3, 3) == [1, 2, 3]
    assert evenly_mapped(4, 6) == [1, 3, 4, 6]
    assert evenly_mapped(4, 2) == [1, 1, 1, 2]


def test_a_row_without_a_label_adds_the_soft_term_alone_and_leaves_the_others_as_they_are() -> None:
    logits = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
    said = torch.randn(4, 2, generator=torch.Generator().manual_seed(1))
    labels, has = torch.tensor([0, 1, 0, 0]), torch.tensor([1.0, 1.0, 0.0, 0.0])
    hard = ClassifierLoss(SINGLE)
    distillation = DistillationLoss(hard, alpha=0.3, temperature=2.0)
    found = distillation.row_losses({"logits": logits}, labels, said, has, None, None)
    soft = soft_losses(logits, said, SINGLE, 2.0)
    assert torch.allclose(found[:2], 0.3 * soft[:2] + 0.7 * hard.row_losses(logits, labels)[:2])
    assert torch.allclose(found[2:], 0.3 * soft[2:])
    other = distillation.row_losses({"logits": logits}, torch.tensor([0, 1, 1, 1]), said, has, None, None)
    assert torch.equal(found, other)
    alone = distillation.row_losses({"logits": logits[:2]}, labels[:2], said[:2], None, None, None)
    assert torch.equal(found[:2], alone)


def test_agreement_and_retention_by_hand() -> None:
    ours, theirs = np.array([[1.0, 0.0], [0.0, 1.0], [3.0, 1.0]]), np.array([[9.0, 0.0], [1.0, 0.0], [0.2, 0.1]])
    assert agreement(SINGLE, ours, theirs) == pytest.approx(2 / 3)
    assert agreement(MULTI, ours - 0.5, theirs - 0.5) == pytest.approx(1 / 3)
    assert agreement(REGRESSION, np.array([[1.0], [2.0], [3.0]]), np.array([[1.0], [3.0], [2.0]])) == pytest.approx(0.5)
    assert agreement(REGRESSION, np.ones((3, 1)), theirs[:, :1]) == 0.0
    assert retention(REGRESSION, {"test_pearson": 0.6}, {"pearson": 0.8}) == {"pearson": pytest.approx(0.75)}
    assert retention(REGRESSION, {"test_pearson": 0.6}, {"pearson": 0.0}) == {}


def test_models_are_timed_in_turn_on_the_same_texts() -> None:
    calls: list[tuple[str, int, int]] = []

    class Timed:
        def __init__(self, name: str) -> None:
            self.name = name

        def logits(self, texts: list[str], batch_size: int) -> None:
            calls.append((self.name, len(texts), batch_size))

    models: Any = [Timed("a"), Timed("b")]
    seconds_per_text(models, ["x"] * 100, 32)
    assert calls[4:] == [("a", 32, 32), ("b", 32, 32)] * 5
    assert {(n, size) for _, n, size in calls[:4]} == {(32, 32)}


# ---- the teacher


def test_a_teacher_with_its_labels_in_another_order_gives_the_same_answers(
    tiny_bert: Path, files: Any, tmp_path: Path
) -> None:
    model, tokenizer = classifier(tiny_bert, ["negative", "positive"])
    turned = copy.deepcopy(model)
    with torch.no_grad():
        model.classifier.bias.copy_(torch.tensor([0.5, -1.0]))
        turned.classifier.weight.copy_(model.classifier.weight.flip(0))
        turned.classifier.bias.copy_(model.classifier.bias.flip(0))
    turned.config.id2label = {0: "positive", 1: "negative"}
    turned.config.label2id = {"positive": 0, "negative": 1}
    found = []
    for name, one in (("straight", model), ("turned", turned)):
        one.save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)
        job, _ = job_of(tmp_path / f"run-{name}", tiny_bert, files(), teacher_name_or_path=tmp_path / name)
        found.append(np.array(job.splits["train"]["teacher_logits"][:]))
    assert found[0].shape == (40, 2)
    assert np.abs(found[0][:, 0] - found[0][:, 1]).mean() > 0.1
    assert np.allclose(found[0], found[1], atol=1e-6)


@pytest.mark.parametrize(
    ("labels", "kind", "message"),
    [
        (
            ["negative", "mixed", "other"],
            SINGLE,
            "its labels are not those of the data; it lacks positive and adds mixed, other. Use a teacher that was "
            "fine-tuned on these labels.",
        ),
        ([], REGRESSION, "its problem type is regression, that of the data single_label_classification."),
    ],
)
def test_a_teacher_of_other_labels_is_refused(
    tiny_bert: Path, files: Any, tmp_path: Path, labels: list[str], kind: str, message: str
) -> None:
    name = save_teacher(tiny_bert, tmp_path / "other", labels, kind)
    with pytest.raises(ConfigError) as error:
        run(tmp_path / "run", tiny_bert, files(), teacher_name_or_path=name)
    assert str(error.value) == f"--teacher_name_or_path {name}: {message}"


def test_a_teacher_that_has_read_a_text_is_not_asked_again(
    teacher: Path, tiny_bert: Path, files: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    shared = distill_teacher._logits_by_all_processes

    def counting(classifier: Any, texts: Any) -> np.ndarray:
        asked.append(len(texts))
        return shared(classifier, texts)

    monkeypatch.setattr(distill_teacher, "_logits_by_all_processes", counting)
    table = files()
    first, _ = job_of(tmp_path / "one", tiny_bert, table, teacher_name_or_path=teacher)
    assert asked == [len({row["text"] for row in problem_rows(SINGLE, 40, 0)})]
    again, _ = job_of(tmp_path / "two", tiny_bert, table, teacher_name_or_path=teacher)
    assert len(asked) == 1
    assert again.splits["train"]["teacher_logits"][:] == first.splits["train"]["teacher_logits"][:]
    train_rows = [*problem_rows(SINGLE, 40, 0), {"text": "an altogether new text", "label": "positive"}]
    write_csv(table["train"], train_rows)
    job_of(tmp_path / "three", tiny_bert, table, teacher_name_or_path=teacher)
    assert asked[1:] == [1]
    model = AutoModelForSequenceClassification.from_pretrained(teacher)
    with torch.no_grad():
        model.classifier.bias.add_(1)
    model.save_pretrained(teacher)
    job_of(tmp_path / "four", tiny_bert, table, teacher_name_or_path=teacher)
    assert len(asked) == 3  # other weights: another teacher


def test_rows_that_augmentation_made_have_answers_of_their_own(
    teacher: Path, tiny_bert: Path, files: Any, tmp_path: Path
) -> None:
    extra = ["--augment", "swap", "delete"]
    job, settings = job_of(tmp_path / "run", tiny_bert, files(), extra, teacher_name_or_path=teacher)
    tokens = job.splits["train"]
    assert settings.augment == AugmentArguments(augment=["swap", "delete"])
    assert len(tokens) == 80
    texts = job.tokenizer.batch_decode(
        tokens["input_ids"][:], skip_special_tokens=True
    )  # lower-cased, as its words are
    assert np.allclose(np.array(tokens["teacher_logits"][:]), plain_logits(teacher, texts), atol=1e-5)


def test_unlabelled_rows_are_joined_and_those_that_would_give_answers_away_are_left_out(
    teacher: Path, tiny_bert: Path, files: Any, make_csv: MakeCsv, tmp_path: Path
) -> None:
    table = files()
    others = [{"text": row["text"]} for row in rows_of(25, 9)]
    given_away = [
        {"text": problem_rows(SINGLE, 32, 2)[0]["text"].upper()},
        {"text": problem_rows(SINGLE, 30, 1)[0]["text"]},
        {"text": problem_rows(SINGLE, 40, 0)[0]["text"]},
        {"text": others[0]["text"]},
        {"text": "  "},
    ]
    path = make_csv([*others, *given_away], "texts.csv")
    job, settings = job_of(
        tmp_path / "run", tiny_bert, table, teacher_name_or_path=teacher, unlabelled_file=path, num_train_epochs=3
    )
    note = f"unlabelled: 25 texts of {path}; left out: 1 blank, 2 in validation or test, 2 there already"
    assert note in job.notes
    tokens = job.splits["train"]
    assert tokens["labelled"][:] == [1.0] * 40 + [0.0] * 25
    wanted = plain_logits(teacher, [row["text"] for row in others])
    assert np.allclose(np.array(tokens["teacher_logits"][40:]), wanted, atol=1e-5)
    assert tokens.features["teacher_logits"].feature.dtype == "float32"
    plain = control_job(job, settings)
    assert len(plain.splits["train"]) == 40
    assert plain.training.max_steps == 3 * math.ceil(65 / 8)
    assert plain.training.eval_steps == plain.training.save_steps == math.ceil(65 / 8)
    assert job.training.max_steps == -1


def test_unlabelled_rows_must_be_pairs_where_the_training_rows_are(
    tiny_bert: Path, make_csv: MakeCsv, tmp_path: Path
) -> None:
    rows = [{"text": row["text"], "text_pair": "x", "label": row["label"]} for row in rows_of(60, 0)]
    texts = make_csv([{"text": "a"}], "texts.csv")
    found = arguments(
        tmp_path / "run",
        tiny_bert,
        {"train": make_csv(rows)},
        teacher_name_or_path="t",
        text_pair_column_name="text_pair",
    )
    settings = Settings.of("distill", found, DistillArguments)
    data = read(settings)
    settings.data.text_pair_column_name = None
    with pytest.raises(DataError) as error:
        read_unlabelled([str(texts)], data, settings.data)
    assert str(error.value) == (f"{texts}: the training rows are pairs of texts, these are not; name the text columns.")


# ---- whole runs


@pytest.mark.parametrize("kind", [SINGLE, MULTI, REGRESSION])
def test_a_student_of_every_kind_repeats_its_logits_in_plain_transformers(
    tiny_bert: Path, files: Any, tmp_path: Path, kind: str
) -> None:
    teacher = save_teacher(tiny_bert, tmp_path / "teacher", kind=kind)
    flags = {"teacher_name_or_path": teacher, "student_layers": "1", "num_train_epochs": 1}
    report = run(tmp_path / "run", teacher, files(kind), **flags)
    texts = [row["text"] for row in problem_rows(kind, 32, 2)]
    assert np.abs(plain_logits(report.output_dir, texts) - report.test_logits).max() < 1e-4
    config = json.loads((report.output_dir / "config.json").read_text())
    assert (config["num_hidden_layers"], config["problem_type"]) == (1, kind)
    assert not (report.output_dir / "student").exists()
    results = json.loads((report.output_dir / "all_results.json").read_text())
    name = {SINGLE: "accuracy", MULTI: "f1_micro", REGRESSION: "pearson"}[kind]
    teacher_logits = plain_logits(teacher, texts)
    assert np.abs(report.baselines["teacher"].logits - teacher_logits).max() < 1e-5
    if results[f"control_teacher_{name}"] > 0:
        share = results[f"test_{name}"] / results[f"control_teacher_{name}"]
        assert results[f"distill_retention_{name}"] == pytest.approx(share)
    assert results["distill_agreement"] == pytest.approx(agreement(kind, report.test_logits, teacher_logits))
    assert results["distill_student_parameters"] < results["distill_teacher_parameters"]
    held = sum(path.stat().st_size for path in report.output_dir.iterdir()) / 1e6
    assert results["distill_student_directory_mb"] == pytest.approx(held, rel=0.5)
    assert {f"distill_speedup_batch_{size}" for size in (1, 32)} <= set(results)
    record = json.loads((report.output_dir / "run.json").read_text())
    assert record["arguments"]["model"]["model_name_or_path"] == str(teacher)
    assert record["arguments"]["distill"]["student_layers"] == "1"
    assert "--with_control also trains the same student without it." in record["verdict"]


def test_without_the_teachers_share_it_is_fine_tuning_to_the_bit(
    teacher: Path, tiny_bert: Path, files: Any, tmp_path: Path
) -> None:
    table = files()
    plain = finetune_tiny(tmp_path / "plain", tiny_bert, table, **QUICK)
    none = run(tmp_path / "none", tiny_bert, table, teacher_name_or_path=teacher, alpha=0)
    some = run(tmp_path / "some", tiny_bert, table, teacher_name_or_path=teacher, alpha=0.5, with_control=True)
    assert weights_hash(none.output_dir) == weights_hash(plain.output_dir)
    assert np.array_equal(none.test_logits, plain.test_logits)
    assert np.abs(some.test_logits - plain.test_logits).max() > 1e-3
    control = some.baselines["labels"]
    assert np.array_equal(control.logits, plain.test_logits)  # the control_job has the same start
    assert "the same student without a teacher" in some.verdict
    assert "--with_control" not in some.verdict
    assert some.metrics["control_labels_accuracy"] == plain.metrics["test_accuracy"]


def test_a_student_comes_near_its_teacher_on_texts_without_labels(
    learner: Path, files: Any, make_csv: MakeCsv, tmp_path: Path
) -> None:
    table = files()
    flags = {"learning_rate": 5e-3, "num_train_epochs": 6}
    big = {**table, "train": make_csv(problem_rows(SINGLE, 120, 5), "many.csv")}
    taught = finetune_tiny(tmp_path / "teacher", learner, big, **{**QUICK, **flags})
    assert taught.metrics["test_accuracy"] > 0.9
    few = {**table, "train": make_csv(problem_rows(SINGLE, 6, 0), "few.csv")}
    texts = make_csv([{"text": row["text"]} for row in rows_of(120, 7)], "texts.csv")
    source = {"teacher_name_or_path": taught.output_dir, "unlabelled_file": texts, "with_control": True}
    report = run(tmp_path / "run", learner, few, **source, **flags)
    assert report.metrics["test_accuracy"] > report.metrics["control_labels_accuracy"] + 0.1
    assert report.metrics["distill_agreement"] > 0.85


@pytest.mark.parametrize("use_peft", [False, True])
def test_layers_are_matched_without_touching_or_saving_the_teacher(
    teacher: Path, files: Any, tmp_path: Path, use_peft: bool
) -> None:
    before, extra = weights_hash(teacher), ["--match", "hidden", "attention"]
    flags = {"teacher_name_or_path": teacher, "student_layers": "1", "use_peft": use_peft, "num_train_epochs": 1}
    matched = run(tmp_path / "matched", teacher, files(), extra, **flags)
    assert weights_hash(teacher) == before
    texts = [row["text"] for row in problem_rows(SINGLE, 32, 2)]
    assert np.abs(plain_logits(matched.output_dir, texts) - matched.test_logits).max() < 1e-4
    assert (matched.output_dir / "adapter").exists() == use_peft
    assert (matched.output_dir / "student").exists() == use_peft  # the base that the adapter names


def test_the_record_is_written_once_with_the_comparison_in_it(
    teacher: Path, files: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[tuple[str, Any]] = []
    monkeypatch.setattr("nlp_ft.training.run.write_json", lambda path, content: written.append((path.name, content)))
    report = run(tmp_path / "run", teacher, files(), teacher_name_or_path=teacher, max_steps=1)
    assert [name for name, _ in written] == ["all_results.json", "run.json"]
    assert written[1][1]["metrics"] == report.metrics
    assert {"distill_agreement", "distill_speedup_batch_1"} <= report.metrics.keys()
    assert written[1][1]["verdict"] == report.verdict
    assert "of the test rows have the prediction of the teacher" in report.verdict.lower()


def test_matching_a_teacher_that_is_the_student_adds_nothing(teacher: Path, files: Any, tmp_path: Path) -> None:
    extra = ["--match", "attention", "hidden"]
    job, _ = job_of(tmp_path / "run", teacher, files(), extra, teacher_name_or_path=teacher, alpha=1, dropout=0.0)
    distillation = job.trainer.keywords["distillation"]
    assert distillation.layers == (2, 2)
    batch = job.tokenizer(["a lovely film", "boring"], padding=True, return_tensors="pt")
    ours, theirs = (
        model.eval()(**batch, **distillation.forward_options) for model in (job.model, distillation.teacher)
    )
    losses = distillation.row_losses(ours, torch.tensor([0, 1]), theirs.logits, None, theirs, batch["attention_mask"])
    assert losses.abs().max() < 1e-8
    short = job.tokenizer(["boring"], return_tensors="pt")  # padding counts for nothing
    ours, theirs = (
        model.eval()(**one, **distillation.forward_options)
        for model, one in ((job.model, batch), (distillation.teacher, batch))
    )
    with torch.no_grad():
        job.model.bert.embeddings.word_embeddings.weight[5:].mul_(2)
    far, near = job.model(**batch, **distillation.forward_options), job.model(**short, **distillation.forward_options)
    one = distillation.teacher(**short, **distillation.forward_options)
    whole = distillation.row_losses(far, torch.tensor([0, 1]), theirs.logits, None, theirs, batch["attention_mask"])
    alone = distillation.row_losses(near, torch.tensor([1]), one.logits, None, one, short["attention_mask"])
    assert alone.item() > 1e-3
    assert whole[1].item() == pytest.approx(alone.item(), rel=1e-4)


def test_a_decoder_teaches_an_encoder(tiny_bert: Path, files: Any, tmp_path: Path) -> None:
    teacher = save_teacher(checkpoint("llama"), tmp_path / "teacher")
    report = run(tmp_path / "run", tiny_bert, files(), teacher_name_or_path=teacher, num_train_epochs=1)
    assert json.loads((report.output_dir / "config.json").read_text())["model_type"] == "bert"
    assert report.metrics["distill_teacher_parameters"] > 0
    with pytest.raises(ConfigError) as error:
        run(tmp_path / "two", tiny_bert, files(), ["--match", "hidden"], teacher_name_or_path=teacher)
    assert str(error.value) == (
        "--match hidden compares layers token by token, but teacher and student have different tokenizers; leave --match out."
    )


@pytest.mark.parametrize(
    ("kind", "body", "message"),
    [
        ("hidden", {"dim": 16}, "the teacher's layers are 16 wide, the student's 32; wanted the same."),
        ("attention", {"n_heads": 4}, "the teacher's layers have 4 attention heads, the student's 2; wanted the same."),
    ],
)
def test_layers_of_other_sizes_cannot_be_matched(
    files: Any, tmp_path: Path, kind: str, body: Any, message: str
) -> None:
    from transformers import DistilBertConfig, DistilBertModel

    small = shutil.copytree(checkpoint("distilbert"), tmp_path / "small")
    config = DistilBertConfig.from_pretrained(small, **body)
    torch.manual_seed(0)
    DistilBertModel(config).save_pretrained(small)
    teacher = save_teacher(small, tmp_path / "teacher")
    with pytest.raises(ConfigError) as error:
        run(tmp_path / "run", checkpoint("distilbert"), files(), ["--match", kind], teacher_name_or_path=teacher)
    assert str(error.value) == f"--match {kind}: {message}"


def test_accumulated_batches_give_the_gradient_of_one(
    teacher: Path, files: Any, make_csv: MakeCsv, tmp_path: Path
) -> None:
    texts = make_csv([{"text": row["text"]} for row in rows_of(24, 9)], "texts.csv")
    steps: dict[str, Any] = {
        **SGD,
        "learning_rate": 0.1,
        "max_steps": 1,
        "logging_steps": 1,
        "train_sampling_strategy": "sequential",
        "teacher_name_or_path": teacher,
        "student_layers": "1",
        "unlabelled_file": texts,
    }
    found = []
    for name, batch, times in (("one", 64, 1), ("many", 16, 4)):
        job, _ = job_of(
            tmp_path / name,
            teacher,
            files(),
            ["--match", "hidden"],
            **steps,
            per_device_train_batch_size=batch,
            gradient_accumulation_steps=times,
        )
        fitted = train(job)
        found.append((fitted.log_history[0]["loss"], [p.detach().clone() for p in fitted.model.parameters()]))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-4)
    assert max((a - b).abs().max().item() for a, b in zip(found[0][1], found[1][1], strict=True)) < 1e-5


@pytest.mark.slow
def test_two_processes_teach_as_one_does(teacher: Path, files: Any, make_csv: MakeCsv, tmp_path: Path) -> None:
    texts = make_csv([{"text": row["text"]} for row in rows_of(24, 9)], "texts.csv")
    flags: dict[str, Any] = {
        **SGD,
        "learning_rate": 0.1,
        "max_steps": 2,
        "train_sampling_strategy": "sequential",
        "teacher_name_or_path": teacher,
        "student_layers": "1",
        "unlabelled_file": texts,
        "match": "hidden",
    }
    table = files()
    one = run(tmp_path / "one", teacher, table, **flags, per_device_train_batch_size=64)
    shutil.rmtree(tmp_path / "cache")  # the processes are to share the reading
    two_processes("distill", argv_of(tmp_path / "two", teacher, table, **flags, per_device_train_batch_size=32))
    assert_same_weights(tmp_path / "one", tmp_path / "two", teacher)
    results = json.loads((tmp_path / "two" / "all_results.json").read_text())
    for name in ("distill_agreement", "control_teacher_accuracy", "test_loss"):
        assert results[name] == pytest.approx(one.metrics[name], rel=1e-3)


# ---- flags


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"temperature": 0}, "--temperature must be positive and finite, got 0.0."),
        ({"alpha": 1.5}, "--alpha must be between 0 and 1, got 1.5."),
        ({"alpha": "nan"}, "--alpha must be between 0 and 1, got nan."),
        ({"match": "heads"}, "--match takes hidden and attention, got 'heads'."),
        ({"match_weight": 2}, "--match_weight needs --match."),
        (
            {"student_layers": "few"},
            "--student_layers must be a number of layers, or which ones, counted from 0, such as 0,2,5; got 'few'.",
        ),
        (
            {"alpha": 0, "unlabelled_file": "a.csv"},
            "--alpha 0 does not use the teacher's logits, and --unlabelled_file has no labels to train on.",
        ),
        (
            {"augment": "mixup"},
            "--augment mixup: the teacher has no logits for mixed rows; use operations that write new texts.",
        ),
        (
            {"num_folds": 3},
            "--num_folds: the teacher may have been trained on the rows that a fold is tested on; leave it out.",
        ),
        (
            {"match": "attention", "attn_implementation": "sdpa"},
            "--match attention needs --attn_implementation eager, got sdpa; the others do not return attention probabilities.",
        ),
        (
            {"alpha": 0, "with_control": True},
            "--with_control: with --alpha 0 and no --match the teacher has no effect to measure.",
        ),
    ],
)
def test_flags_that_make_no_sense_are_refused(tmp_path: Path, flags: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        run(tmp_path / "run", tmp_path, {"train": tmp_path / "a.csv"}, teacher_name_or_path="t", **flags)
    assert str(error.value) == message


def test_a_temperature_is_refused_for_a_regression(tiny_bert: Path, files: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--temperature applies to classes; this problem is a regression"):
        run(tmp_path / "run", tiny_bert, files(REGRESSION), teacher_name_or_path="t", temperature=3)


def test_a_teacher_tested_on_other_rows_is_doubted(
    tiny_bert: Path, files: Any, make_csv: MakeCsv, tmp_path: Path
) -> None:
    table = files()
    taught = finetune_tiny(tmp_path / "teacher", tiny_bert, table, **{**QUICK, "num_train_epochs": 1})
    flags = {"teacher_name_or_path": taught.output_dir}
    warning = "warning: the teacher's own run was tested on other rows"
    job, _ = job_of(tmp_path / "one", tiny_bert, table, **flags)
    assert not any(note.startswith(warning) for note in job.notes)
    other = {
        **table,
        "test": make_csv([{"text": f"{GOOD[0]} {n}", "label": "positive"} for n in range(40)], "other.csv"),
    }
    job, _ = job_of(tmp_path / "two", tiny_bert, other, **flags)
    assert any(note.startswith(warning) for note in job.notes)


def test_a_distilled_checkpoint_knows_the_unlabelled_texts_and_the_teacher(
    tiny_bert: Path, make_csv: MakeCsv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = {
        f"{s}_file": make_csv(rows_of(n, k), f"{s}.csv") for k, (s, n) in enumerate({"train": 40, "test": 20}.items())
    }
    for seed in (1, 2):
        files = {"train": table["train_file"]}
        finetune_tiny(tmp_path / f"teacher{seed}", tiny_bert, files, **ONE_EPOCH, seed=seed)
    identities: list[Mapping[str, Any]] = []

    def train(job: Any) -> Any:
        identities.append(fit.job_identity(job))
        raise KeyboardInterrupt

    monkeypatch.setattr(fit, "train", train)
    unlabelled = make_csv([{"text": row["text"]} for row in rows_of(20, 8)], "unlabelled.csv")
    flags = {"teacher_name_or_path": tmp_path / "teacher1", "model_name_or_path": tiny_bert, **table, **ONE_EPOCH}
    for number, changed in enumerate((None, "unlabelled", "teacher")):
        if changed == "unlabelled":
            write_csv(unlabelled, [{"text": row["text"]} for row in rows_of(20, 9)])
        if changed == "teacher":
            shutil.copy(tmp_path / "teacher2" / "model.safetensors", tmp_path / "teacher1")
        with pytest.raises(KeyboardInterrupt):
            run_method(distill, output_dir=tmp_path / f"run{number}", unlabelled_file=unlabelled, **flags)
        if changed:
            before, now = identities[-2:]
            assert {name for name in now["data"] if now["data"][name] != before["data"][name]} == {changed}
            assert {**before, "data": 0} == {**now, "data": 0}


def test_a_teacher_that_reads_long_texts_another_way_is_asked_again(
    tiny_bert: Path, tiny_csv: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NLP_FT_CACHE", str(tmp_path / "cache"))
    teacher = finetune_tiny(
        tmp_path / "teacher", tiny_bert, {"train": tiny_csv["train"]}, **ONE_EPOCH, max_seq_length=16
    )
    data = load_data(DataArguments(train_file=[str(tiny_csv["train"])]), seed=1)
    long = data.test.map(lambda row: {"text": " ".join([row["text"]] * 4)})
    asked: list[int] = []
    shared = distill_teacher._logits_by_all_processes

    def counted(classifier: Any, texts: Any) -> Any:
        asked.append(len(texts))
        return shared(classifier, texts)

    monkeypatch.setattr(distill_teacher, "_logits_by_all_processes", counted)
    found = []
    for pooling in ("mean", "max", "max"):
        (teacher.output_dir / "inference.json").write_text(json.dumps({"long_documents": {"pooling": pooling}}))
        found.append(Teacher(str(teacher.output_dir), data, torch.device("cpu")).logits(long))
    assert len(asked) == 2
    assert not np.allclose(found[0], found[1])
    assert np.array_equal(found[1], found[2])
