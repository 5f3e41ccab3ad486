import json
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from types import NoneType
from typing import Any

import pytest
import ranks
from running import ONE_EPOCH, as_argv, finetune_tiny, weights_hash
from safetensors.torch import load_file, save_file

from nlp_ft.config.parser import parse
from nlp_ft.errors import ConfigError
from nlp_ft.methods import finetune
from nlp_ft.training import checkpointing
from nlp_ft.training.run import piece_identity
from nlp_ft.training.settings import Settings

# Dropout and shuffling are on; every epoch leaves a checkpoint (4 steps each).
FLAGS: dict[str, Any] = {
    "num_train_epochs": 4,
    "per_device_train_batch_size": 15,
    "learning_rate": 1e-3,
    "save_total_limit": 10,
    "head_start": "random",
}


@pytest.fixture(scope="module")
def finished(tiny_bert: Path, tiny_csv: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run whose checkpoints were kept, because a save flag was given."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    finetune_tiny(folder, tiny_bert, tiny_csv, **FLAGS)
    return folder


@pytest.fixture
def interrupted(finished: Path, tmp_path: Path) -> Path:
    """What a run leaves that was cut after its third epoch: checkpoints and no report."""
    folder = tmp_path / "run"
    folder.mkdir()
    for path in checkpointing.numbered(finished)[1:]:
        shutil.copytree(path, folder / path.name)
    return folder


def resume(folder: Path, checkpoint: Path, files: dict[str, Path], **flags: Any) -> str:
    finetune_tiny(folder, checkpoint, files, **{**FLAGS, "resume_from_checkpoint": True, **flags})
    return weights_hash(folder)


def test_a_resumed_run_ends_as_an_uninterrupted_one_to_the_bit(
    finished: Path, interrupted: Path, tiny_bert: Path, tiny_csv: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert resume(interrupted, tiny_bert, tiny_csv) == weights_hash(finished)
    assert "resuming from" in (said := capsys.readouterr().out)
    assert "checkpoint-12" in said


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (lambda d: (d / "optimizer.pt").unlink(), "optimizer.pt is missing"),
        (lambda d: (d / "rng_state.pth").unlink(), "rng_state.pth is missing"),
        (lambda d: (d / "scheduler.pt").unlink(), "scheduler.pt is missing"),
        (lambda d: _save_only_the_model(d), "it was saved with --save_only_model"),
        (lambda d: (d / "manifest.json").unlink(), "it has no manifest.json"),
        (lambda d: (d / "trainer_state.json").write_text("{}"), "trainer_state.json has 2 bytes"),
        (lambda d: _flip_a_bit(d / "model.safetensors"), "the content of model.safetensors has changed"),
    ],
    ids=["optimizer", "rng", "scheduler", "model only", "cut short", "truncated", "bit flip"],
)
def test_a_checkpoint_that_is_not_whole_is_passed_over_aloud_and_the_result_is_the_same(
    finished: Path,
    interrupted: Path,
    tiny_bert: Path,
    tiny_csv: dict[str, Path],
    capsys: pytest.CaptureFixture[str],
    harm: Any,
    reason: str,
) -> None:
    harm(interrupted / "checkpoint-12")
    assert resume(interrupted, tiny_bert, tiny_csv) == weights_hash(finished)
    said = capsys.readouterr().out
    assert f"checkpoint-12 is passed over: {reason}" in said
    assert "resuming from" in said
    assert "checkpoint-8" in said


def _save_only_the_model(directory: Path) -> None:
    for name in ("manifest.json", "optimizer.pt", "scheduler.pt", "rng_state.pth"):
        (directory / name).unlink()
    checkpointing.write_manifest(directory, {})


def _flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


def test_without_a_whole_checkpoint_resuming_is_refused_and_says_why(tiny_bert: Path, interrupted: Path) -> None:
    for path in checkpointing.numbered(interrupted):
        (path / "manifest.json").unlink()
    with pytest.raises(ConfigError) as caught:
        checkpointing.choose("True", interrupted, {})
    assert str(caught.value) == (
        f"--resume_from_checkpoint: {interrupted} holds no whole checkpoint ({interrupted / 'checkpoint-12'} is passed over: "
        "it has no manifest.json: its save was cut short, or it is not of this program)."
    )


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ({"seed": 1}, "its seed is 42, this one's is 1"),
        ({"per_device_train_batch_size": 10}, "its rows_per_update is 15"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused_naming_the_difference(
    interrupted: Path, tiny_bert: Path, tiny_csv: dict[str, Path], flags: dict[str, Any], named: str
) -> None:
    with pytest.raises(ConfigError, match=named):
        resume(interrupted, tiny_bert, tiny_csv, **flags)


def test_a_checkpoint_of_other_data_is_refused(
    interrupted: Path, tiny_bert: Path, tiny_csv: dict[str, Path], tmp_path: Path
) -> None:
    other = tmp_path / "other.csv"
    other.write_text(tiny_csv["train"].read_text().replace("lovely", "superb"))
    with pytest.raises(
        ConfigError, match=r"belongs to another run: it was made from other data \(train\) than this one; "
    ):
        resume(interrupted, tiny_bert, {**tiny_csv, "train": other})


def test_adapters_go_on_over_the_weights_they_were_trained_on_alone(
    tiny_bert: Path, tiny_csv: dict[str, Path], tmp_path: Path
) -> None:
    start, flags = shutil.copytree(tiny_bert, tmp_path / "start"), {**FLAGS, "use_peft": True, "lora_r": 2}
    finetune_tiny(tmp_path / "run", start, tiny_csv, **flags)
    (tmp_path / "run" / "run.json").unlink()
    weights = load_file(start / "model.safetensors")
    save_file({name: weight * 1.01 for name, weight in weights.items()}, start / "model.safetensors", {"format": "pt"})
    with pytest.raises(ConfigError, match="belongs to another run: it was made from other weights than this one; "):
        finetune_tiny(tmp_path / "run", start, tiny_csv, **flags, resume_from_checkpoint=True)


def test_a_stale_checkpoint_with_a_higher_number_is_not_taken(
    interrupted: Path, tiny_bert: Path, tiny_csv: dict[str, Path]
) -> None:
    stale = shutil.copytree(interrupted / "checkpoint-4", interrupted / "checkpoint-1000")
    manifest = json.loads((stale / "manifest.json").read_text())
    manifest["run"]["learning_rate"] = 0.5
    (stale / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ConfigError, match=r"checkpoint-1000 belongs to another run: its learning_rate is 0\.5"):
        resume(interrupted, tiny_bert, tiny_csv)


def test_a_finished_run_removes_its_checkpoints_unless_saving_was_asked_for(
    finished: Path, tiny_bert: Path, tiny_csv: dict[str, Path], tmp_path: Path
) -> None:
    assert [p.name for p in checkpointing.numbered(finished)] == [f"checkpoint-{n}" for n in (16, 12, 8, 4)]
    finetune_tiny(tmp_path / "run", tiny_bert, tiny_csv)
    assert checkpointing.numbered(tmp_path / "run") == []


def test_a_finished_run_is_not_resumed(finished: Path, tiny_bert: Path, tiny_csv: dict[str, Path]) -> None:
    before = weights_hash(finished)
    with pytest.raises(ConfigError, match="holds a finished run; there is nothing to resume"):
        resume(finished, tiny_bert, tiny_csv)
    assert weights_hash(finished) == before


def test_links_and_foreign_folders_are_no_checkpoints(tmp_path: Path) -> None:
    (tmp_path / "checkpoint-3").mkdir()
    (tmp_path / "checkpoint-foo").mkdir()
    (tmp_path / "checkpoint-9").symlink_to(tmp_path / "checkpoint-3")
    assert [p.name for p in checkpointing.numbered(tmp_path)] == ["checkpoint-3"]


# A run that kills itself at its first file operation in checkpoint-8, when checkpoint-4 is whole.
KILLED = """
import os, runpy, signal, sys

def hook(event, arguments):
    if event in ("open", "os.mkdir", "os.rename") and "checkpoint-8" in str(arguments[0]):
        os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(hook)
runpy.run_module("nlp_ft", run_name="__main__", alter_sys=True)
"""


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_weights(
    finished: Path, tiny_bert: Path, tiny_csv: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    flags = {
        "model_name_or_path": tiny_bert,
        "output_dir": folder,
        **{f"{split}_file": path for split, path in tiny_csv.items()},
        "use_cpu": True,
        **FLAGS,
    }
    done = ranks.run_alone(["-c", KILLED, "finetune", *as_argv(**flags)])
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    assert (folder / "checkpoint-4" / "manifest.json").exists()
    finetune_tiny(folder, tiny_bert, tiny_csv, **{**FLAGS, "resume_from_checkpoint": True})
    assert weights_hash(folder) == weights_hash(finished)


def asked(folder: Path, checkpoint: Path, **flags: Any) -> Mapping[str, Any]:
    chosen = {"model_name_or_path": checkpoint, "output_dir": folder, "train_file": "a.csv", "use_cpu": True, **flags}
    settings = Settings.of("finetune", parse(*finetune.ARGUMENTS, argv=as_argv(**chosen)), NoneType)
    return piece_identity(settings.to_dict(settings.training), settings.explicit, 1)


def test_what_was_asked_tells_a_value_that_was_chosen_from_one_that_was_given(tmp_path: Path, tiny_bert: Path) -> None:
    plain = asked(tmp_path, tiny_bert)
    assert plain == asked(tmp_path, tiny_bert, logging_steps=3, with_control=True)
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
        assert plain != asked(tmp_path, tiny_bert, **{name: value}), name
    assert plain != asked(tmp_path, tiny_bert, per_device_train_batch_size=8)
    assert plain["weights"] == checkpointing.weights_of(str(tiny_bert))


def test_a_checkpoint_knows_warm_up_and_smoothing(tiny_bert: Path, tiny_csv: dict[str, Path], tmp_path: Path) -> None:
    flags: dict[str, Any] = {**ONE_EPOCH, "save_strategy": "steps", "save_steps": 2, "per_device_train_batch_size": 16}
    finetune_tiny(tmp_path / "straight", tiny_bert, tiny_csv, **flags, eval_strategy="no")
    shutil.copytree(tmp_path / "straight/checkpoint-2", tmp_path / "cut/checkpoint-2")
    flags["resume_from_checkpoint"] = True
    for name, value in {"warmup_steps": 2, "label_smoothing_factor": 0.2, "data_seed": 3}.items():
        with pytest.raises(ConfigError, match=f"belongs to another run: its {name} is "):
            finetune_tiny(tmp_path / "cut", tiny_bert, tiny_csv, **flags, eval_strategy="no", **{name: value})
