"""Transfer: the source is learnt, its body and head are carried, and the gain is measured on the same rows."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import MakeCsv, RunCli, rows_of, write_csv
from running import REGRESSION, as_argv, finetune_tiny, problem_rows

from nlp_ft.errors import ConfigError
from nlp_ft.flags import parse
from nlp_ft.methods import transfer
from nlp_ft.report import RunReport


def contract_argv(world: Any) -> list[str]:
    """How the test of all methods runs this one."""
    files = {f"{split}_file": getattr(world, split) for split in ("train", "validation", "test")}
    with world.train.open(encoding="utf-8", newline="") as handle:
        rows = [{"text": f"yes {row['text']}", "label": row["label"]} for row in csv.DictReader(handle)]
    files["source_file"] = write_csv(world.folder / "source.csv", rows)
    return as_argv(
        model_name_or_path=world.checkpoint, **files, num_train_epochs=1, learning_rate=3e-3, transfer_shots=16
    )


QUICK = {"num_train_epochs": 12, "learning_rate": 5e-3, "head_start": "random", "per_device_train_batch_size": 8}


@pytest.fixture
def files(make_csv: MakeCsv) -> dict[str, Path]:
    """A source, and a target of other texts under the same labels."""
    sizes = {"source": 80, "train": 30, "validation": 30, "test": 40}
    return {name: make_csv(rows_of(n, seed), f"{name}.csv") for seed, (name, n) in enumerate(sizes.items())}


def transfer_tiny(output: Path, checkpoint: Path, files: dict[str, Path], *extra: object, **flags: Any) -> RunReport:
    chosen = {
        "model_name_or_path": checkpoint,
        "output_dir": output,
        **{f"{split}_file": files[split] for split in ("train", "validation", "test")},
        "use_cpu": True,
        **QUICK,
        **flags,
    }
    return transfer.run(*parse(*transfer.ARGUMENTS, argv=[*as_argv(**chosen), *map(str, extra)]))


def test_the_source_helps_where_target_rows_are_few_and_the_table_says_so(
    learner: Path, files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = transfer_tiny(tmp_path / "run", learner, files, "--source_file", files["source"], "--transfer_shots", 4, 8)
    assert run.metrics["transfer_0_source"] > 0.9
    for shots in (4, 8):
        assert run.metrics[f"transfer_{shots}_source"] > run.metrics[f"transfer_{shots}_target_only"] + 0.2
    out = capsys.readouterr().out
    table = out[out.index("test f1_macro by target rows") :].splitlines()
    assert [line.split()[0] for line in table[2:5]] == ["0", "4", "8"]
    gain = run.metrics["transfer_4_source"] - run.metrics["transfer_4_target_only"]
    assert f"({gain:+.3f} ± " in table[3]
    assert any("its labels are these" in note for note in run.notes)  # the head was carried
    assert (tmp_path / "run/sources/source/run.json").exists()
    assert (
        json.loads((tmp_path / "run/all_results.json").read_text())["transfer_4_source"]
        == run.metrics["transfer_4_source"]
    )


def test_the_target_alone_is_an_ordinary_run_on_the_same_rows(
    learner: Path, files: dict[str, Path], tmp_path: Path
) -> None:
    run = transfer_tiny(
        tmp_path / "run", learner, files, "--source_file", files["source"], "--transfer_shots", 0, "--with_control"
    )
    alone = finetune_tiny(
        tmp_path / "alone", learner, {name: files[name] for name in ("train", "validation", "test")}, **QUICK
    )
    assert np.array_equal(run.baselines["target_only"].logits, alone.test_logits)
    assert np.abs(run.test_logits - alone.test_logits).max() > 1e-3
    assert run.metrics["control_target_only_auroc"] == alone.metrics["test_auroc"]
    assert (
        "over the target alone" in run.verdict
        or "than the target alone" in run.verdict
        or "beats the target alone" in run.verdict
    )


def test_of_several_sources_the_one_that_is_best_on_validation_is_taken(
    learner: Path, files: dict[str, Path], make_csv: MakeCsv, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = {"positive": "negative", "negative": "positive"}
    liar = make_csv([{"text": row["text"], "label": other[row["label"]]} for row in rows_of(80, 7)], "liar.csv")
    run = transfer_tiny(
        tmp_path / "run",
        learner,
        files,
        "--source_file",
        liar,
        files["source"],
        "--transfer_shots",
        4,
        num_train_epochs=8,
    )
    out = capsys.readouterr().out
    assert "sources, by f1_macro on validation, mean over 4 rows: source " in out
    assert run.settings["model"]["model_name_or_path"].endswith("sources/source")
    assert run.metrics["transfer_4_source"] > run.metrics["transfer_4_liar"]


def test_a_directory_is_a_source_and_another_kind_of_label_carries_the_body_alone(
    learner: Path, files: dict[str, Path], make_csv: MakeCsv, tmp_path: Path
) -> None:
    scored = make_csv(problem_rows(REGRESSION, 80, 9), "scored.csv")
    source = finetune_tiny(tmp_path / "scores", learner, {"train": scored}, **QUICK)
    run = transfer_tiny(
        tmp_path / "run", learner, files, "--source_name_or_path", source.output_dir, "--transfer_shots", 4
    )
    assert "transfer_0_scores" not in run.metrics
    assert any(note.startswith("head: started anew") for note in run.notes)
    assert np.isfinite(run.test_logits).all()


def test_a_source_that_holds_test_texts_is_refused(
    learner: Path, files: dict[str, Path], make_csv: MakeCsv, tmp_path: Path, run_cli: RunCli
) -> None:
    leaky = make_csv([*rows_of(40, 0), *rows_of(40, 3)[:2]], "leaky.csv")
    flags = ["--transfer_shots", 0, "--use_cpu", "--num_train_epochs", 1]
    argv = [
        "transfer",
        "--model_name_or_path",
        learner,
        "--output_dir",
        tmp_path / "run",
        "--source_file",
        leaky,
        *flags,
    ]
    splits = [token for split in ("train", "validation", "test") for token in (f"--{split}_file", files[split])]
    code, _, err = run_cli([*argv, *splits])
    assert code == 2
    assert "of the 40 test rows of the target are among its rows" in err
    assert err.rstrip().endswith("remove them from the source, or give --allow_leakage.")


def test_what_is_wrong_with_the_flags_is_said() -> None:
    with pytest.raises(
        ConfigError, match=r"^--source_file or --source_name_or_path is needed: what to transfer from\.$"
    ):
        transfer.TransferArguments()
    with pytest.raises(ConfigError, match=r"^--transfer_shots must be at least 0, got -1\.$"):
        transfer.TransferArguments(source_file=["a.csv"], transfer_shots=[-1])
    assert transfer.TransferArguments(source_file=["a.csv"], transfer_shots=[64, 16, 0, 16]).transfer_shots == [16, 64]
