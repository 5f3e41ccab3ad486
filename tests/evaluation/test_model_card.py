"""The card is one that the Hub's own classes take, says how sure its figures are, and holds no path of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import write_csv
from huggingface_hub import ModelCard, metadata_load, parse_eval_result_entries
from running import MULTI, REGRESSION, SINGLE, finetune_tiny, problem_rows

from nlp_ft.evaluation.report import model_card
from nlp_ft.utils import Note, warning

NAMES = ["a", "b", "c"]


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory, learner: Path, tiny_csv: dict[str, Path]) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "reviews"
    finetune_tiny(folder, learner, tiny_csv, num_train_epochs=1)
    return folder


def test_the_card_goes_through_the_hubs_own_classes_unchanged(run_dir: Path) -> None:
    found = ModelCard.load(run_dir / "README.md")
    again = ModelCard(found.content)
    assert again.data.to_dict() == found.data.to_dict() == metadata_load(run_dir / "README.md")
    data: Any = found.data
    assert (data.library_name, data.pipeline_tag, data.model_name) == ("transformers", "text-classification", "reviews")
    assert data.license is None
    results = {result.metric_name: result for result in data.eval_results}
    assert results["accuracy"].metric_type == "accuracy"
    assert results["F1 (macro)"].metric_args == {"average": "macro"}
    assert {result.dataset_split for result in data.eval_results} == {"test"}


def test_the_card_says_what_it_rests_on(run_dir: Path) -> None:
    text = (run_dir / "README.md").read_text()
    sections = ["How good it is", "How to use it", "What it was made of", "How it was made", "Limits", "Licence"]
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == sections
    for said in (
        "20 test rows",
        "| the majority class |",
        "Labels: negative, positive.",
        "Method: finetune; all weights.",
    ):
        assert said in text
    row = next(line for line in text.splitlines() if line.startswith("| fine-tuned |"))
    assert "[" in row.split("|")[2]
    assert "[" not in next(line for line in text.splitlines() if line.startswith("| the majority class |"))


def test_the_card_holds_no_directory_of_the_machine(run_dir: Path, learner: Path, tiny_csv: dict[str, Path]) -> None:
    text = (run_dir / "README.md").read_text()
    assert str(run_dir.parent) not in text
    assert str(tiny_csv["train"].parent) not in text
    assert str(learner.parent) not in text
    assert f"{learner.parent.name}/{learner.name}" in text
    assert "on train.csv with" in text


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"num_train_epochs": 1}, ", 1 epoch (8 updates), 8 rows"),
        ({"max_steps": 3}, ", 0.375 epochs (3 updates), 8 rows"),
        ({"num_train_epochs": 2, "freeze_layers": "all"}, "all weights but what is frozen (--freeze_layers all)."),
    ],
)
def test_the_card_says_how_long_it_was_really_trained(
    flags: dict[str, Any], said: str, tmp_path: Path, learner: Path, tiny_csv: dict[str, Path]
) -> None:
    finetune_tiny(tmp_path / "run", learner, tiny_csv, per_device_train_batch_size=8, **flags)
    assert said in (tmp_path / "run" / "README.md").read_text().replace("\n", " ")


def test_a_run_that_stops_early_says_which_update_was_kept() -> None:
    log_history = [{"loss": 1.0, "epoch": 0.5, "step": 10}, {"train_runtime": 1.0, "epoch": 1.5, "step": 30}]
    assert ", 1.5 epochs (30 updates, of which update 10 was kept), " in model_card.card(
        "x", _facts(log_history=log_history, kept_step=10)
    ).replace("\n", " ")
    assert ", 1.5 epochs (30 updates), " in model_card.card("x", _facts(log_history=log_history, kept_step=30))


@pytest.mark.parametrize("name", ["csv", "./rows", "some/local/rows", "/data/rows"])
def test_only_a_dataset_of_the_hub_is_linked(name: str, tmp_path: Path) -> None:
    facts = _facts()
    facts["settings"]["data"]["dataset_name"] = name
    model_card.write_card(tmp_path, facts)
    data: Any = ModelCard.load(tmp_path / "README.md").data
    assert data.datasets is None
    assert {result.dataset_type for result in data.eval_results} == {"custom"}
    assert not (tmp_path / ".eval_results").exists()


def test_a_local_base_is_called_local_and_linked_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "owner" / "base").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    text = model_card.card("x", _facts(log_history=[{"epoch": 1.0, "step": 4}]))
    data: Any = ModelCard(text).data
    assert not {"base_model", "base_model_relation"} & {*data.to_dict()}
    assert "fine-tuned from the local checkpoint `owner/base` on" in text


def test_a_card_in_a_directory_gives_no_address_on_the_hub(run_dir: Path) -> None:
    text = (run_dir / "README.md").read_text()
    assert "models/reviews" not in text
    assert "Run it in the folder above this one" in text


def test_a_pushed_card_calls_the_model_by_its_name_there_and_keeps_what_its_user_wrote(run_dir: Path) -> None:
    text = (run_dir / "README.md").read_text() + "\nMine: see the reviews.\n"
    found = model_card.renamed(text, "reviews", "me/shop", "apache-2.0")
    data: Any = ModelCard(found).data
    assert (data.license, data.model_name) == ("apache-2.0", "shop")
    assert 'model="me/shop"' in found
    assert 'nlp_ft.load("me/shop")' in found
    assert "hf-inference/models/me/shop " in found
    assert "Mine: see the reviews." in found
    assert model_card.renamed(found, "reviews", "me/shop", "apache-2.0") == found


def _facts(**more: Any) -> dict[str, Any]:
    training = {
        "learning_rate": 1e-4,
        "lr_scheduler_type": "linear",
        "warmup_steps": 0.1,
        "num_train_epochs": 2.0,
        "per_device_train_batch_size": 8,
        "gradient_accumulation_steps": 1,
        "optim": "adamw_torch",
        "weight_decay": 0.0,
        "seed": 1,
    }
    splits = ("train", "validation", "test")
    facts = {
        "settings": {
            "model": {"model_name_or_path": "owner/base"},
            "data": {"dataset_name": "owner/rows", "dataset_config_name": None},
            "lora": {"use_peft": True, "lora_r": 4, "save_adapter_only": True},
            "training": training,
        },
        "fingerprint": {"rows": dict.fromkeys(splits, 9), "sha256": dict.fromkeys(splits, "0" * 64), "sources": {}},
        "metrics": {"test_accuracy": 0.5},
        "shown": ["accuracy"],
        "baselines": [],
        "title": "fine-tuned",
        "verdict": "Better.",
        "labels": ["good|bad", "c"],
        "problem_type": SINGLE,
        "per_class": [{"label": "good|bad", "precision": 1, "recall": 1, "f1": 1, "support": 3}],
        "versions": {"python": "3"},
    }
    return facts | more


def test_base_and_dataset_of_the_hub_are_linked(tmp_path: Path) -> None:
    model_card.write_card(tmp_path, _facts())
    data: Any = ModelCard.load(tmp_path / "README.md").data
    assert (data.base_model, data.base_model_relation, data.datasets) == ("owner/base", "adapter", ["owner/rows"])
    assert data.library_name == "peft"
    (entry,) = parse_eval_result_entries(yaml.safe_load((tmp_path / ".eval_results" / "nlp_ft.yaml").read_text()))
    assert (entry.dataset_id, entry.task_id, entry.value) == ("owner/rows", "default", 0.5)
    assert "| good\\|bad |" in (tmp_path / "README.md").read_text()


def test_calibration_and_warnings_are_said_where_there_are_some(tmp_path: Path) -> None:
    metrics = {"test_accuracy": 0.5, "test_ece_before": 0.21, "test_ece": 0.034}
    notes = [warning("a blank text"), Note("data check: 1 error", "data check"), "warning: by its wording alone"]
    text = model_card.card("x", _facts(metrics=metrics, notes=notes))
    assert "is 0.034 with the temperature or thresholds of\ninference.json, 0.210 before it." in text
    assert "- warning: a blank text\n- data check: 1 error\n" in text
    assert "by its wording alone" not in text
    assert "labels: a" not in text
    assert "alibration" not in model_card.card("x", _facts())


@pytest.mark.parametrize("kind", [MULTI, REGRESSION])
def test_other_problems_have_a_valid_card_too(kind: str, tmp_path: Path, learner: Path) -> None:
    files = {
        s: write_csv(tmp_path / f"{s}.csv", problem_rows(kind, 24, i))
        for i, s in enumerate(["train", "validation", "test"])
    }
    finetune_tiny(tmp_path / "out", learner, files, num_train_epochs=1)
    found: Any = ModelCard.load(tmp_path / "out" / "README.md")
    assert found.data.eval_results
    assert "[" in found.text


def test_a_model_of_unknown_origin_gets_a_card_of_what_is_known() -> None:
    found: Any = ModelCard(model_card.bare_card("me/x", ["a", "b"], SINGLE))
    assert found.data.pipeline_tag == "text-classification"
    assert "Labels: a, b." in found.text


def test_card_and_report_say_which_classes_the_macro_figures_leave_out(
    learner: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"text": f"film {n} word{n % 12}", "label": f"class {n % 12:02d}"} for n in range(72)]
    files = {"train": write_csv(tmp_path / "train.csv", rows)}
    finetune_tiny(tmp_path / "few", learner, files, max_predict_samples=5, num_train_epochs=1)
    note = (
        "7 of 12 classes have no test row; macro averages are over those that occur in the rows or the predictions, "
        "balanced accuracy over those in the rows."
    )
    card = (tmp_path / "few" / "README.md").read_text()
    assert note in card
    assert "[cannot be told]" in card
    assert "(7 of 12 classes have no row there and are left out unless predicted)" in card
    assert note.replace("test row", "row") in capsys.readouterr().out
