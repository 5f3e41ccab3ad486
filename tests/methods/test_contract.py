"""What every method keeps to, found by its file alone: one artefact, the same answers, the same result when cut or shared.

Each `tests/methods/test_<name>.py` says by `contract_argv(world)` how to run its method on a tiny world, and by `REFUSES` what
its method refuses, with words of the reason: LoRA (`lora`), a kind of label (`regression`, `multi`), a flag. All else works.
"""

from __future__ import annotations

import contextlib
import csv
import importlib
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import BAD, GOOD, ROOT, RunCli, rows_of, write_csv
from running import MULTI, REGRESSION, SINGLE, two_processes
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForSequenceClassification, Trainer

import nlp_ft
from nlp_ft.cli.main import main, method_names
from nlp_ft.data import text_digest

sys.path.insert(0, str(ROOT / "tests/methods"))
METHODS = method_names()
SPLITS = {"train": 64, "validation": 20, "test": 20}
SAVING = ["--save_strategy", "steps", "--save_steps", "1", "--save_total_limit", "3"]
SAVING += ["--eval_strategy", "steps", "--eval_steps", "1"]
SHARED_STEPS = ["--dropout", "0", "--optim", "sgd", "--learning_rate", "0.05"]
KINDS = {"single": SINGLE, "regression": REGRESSION, "multi": MULTI}


def world_of(folder: Path, checkpoint: Path, learner: Path, kind: str = "single") -> SimpleNamespace:
    """Tables of one kind of label, two checkpoints, and a folder for what else a method wants."""

    def labelled(row: dict[str, str], number: int) -> dict[str, str]:
        words = row["text"].split()
        good = sum(word in GOOD for word in words) - sum(word in BAD for word in words)
        label = {
            "single": row["label"],
            "regression": f"{good + 0.01 * (number % 7):.2f}",
            "multi": ";".join([row["label"], *(["film"] if "film" in words or number % 3 == 0 else [])]),
        }[kind]
        return {"text": row["text"], "label": label}

    folder.mkdir(parents=True, exist_ok=True)
    files = {
        split: write_csv(folder / f"{split}.csv", [labelled(row, i) for i, row in enumerate(rows_of(count, seed))])
        for seed, (split, count) in enumerate(SPLITS.items())
    }
    return SimpleNamespace(**files, checkpoint=checkpoint, learner=learner, folder=folder, problem_type=KINDS[kind])


def argv_of(method: str, world: SimpleNamespace) -> list[str]:
    return [str(token) for token in importlib.import_module(f"test_{method}").contract_argv(world)]


def refuses(method: str) -> dict[str, str]:
    return getattr(importlib.import_module(f"test_{method}"), "REFUSES", {})


def weights(directory: Path) -> dict[str, dict[str, torch.Tensor]]:
    """The weights of every directory a run has left, by its place in the run's own."""
    found = {str(p.parent.relative_to(directory)): load_file(p) for p in sorted(directory.rglob("model.safetensors"))}
    return {place: held for place, held in found.items() if "checkpoint-" not in place}


def furthest(first: Path, second: Path) -> float:
    one, other = weights(first), weights(second)
    assert one.keys() == other.keys()
    assert one
    assert all(one[place].keys() == other[place].keys() for place in one)
    return max((one[p][n].float() - other[p][n].float()).abs().max().item() for p in one for n in one[p])


@pytest.fixture(scope="module", params=[pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in METHODS])
def ran(
    request: pytest.FixtureRequest, tiny_bert: Path, learner: Path, tmp_path_factory: pytest.TempPathFactory
) -> SimpleNamespace:
    """One run of each method, with a checkpoint at every step, and how many steps it took."""
    folder = tmp_path_factory.mktemp(request.param)
    world = world_of(folder / "world", tiny_bert, learner)
    argv = [*argv_of(request.param, world), "--use_cpu"]
    with counted_steps() as taken:
        cli(request.param, [*argv, *SAVING], folder / "run")
    return SimpleNamespace(
        method=request.param, world=world, argv=argv, output=folder / "run", folder=folder, steps=taken[0]
    )


@pytest.fixture(scope="module")
def unsaved(ran: SimpleNamespace) -> Path:
    """A run of one process that asks for no checkpoint, in steps that two can take, too."""
    cli(ran.method, [*ran.argv, *SHARED_STEPS, "--per_device_train_batch_size", "8"], ran.folder / "one")
    return ran.folder / "one"


@contextlib.contextmanager
def counted_steps(stop: int = 0) -> Iterator[list[int]]:
    """The number of training steps, which is cut by Ctrl-C at the one of the number `stop`."""
    step, taken = Trainer.training_step, [0]

    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        taken[0] += 1
        if taken[0] == stop:
            raise KeyboardInterrupt
        return step(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "training_step", counted)
        yield taken


def cli(method: str, argv: list[str], output: Path, code: int = 0) -> str:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        found = main([method, *argv, "--output_dir", str(output)])
    assert found == code, out.getvalue()[-3000:] + err.getvalue()[-3000:]
    return out.getvalue() + err.getvalue()


def test_it_ends_in_directories_that_plain_transformers_loads_whole(ran: SimpleNamespace) -> None:
    indices = weights(ran.output)
    assert indices
    for place in indices:
        directory = ran.output / place
        config = json.loads((directory / "config.json").read_text())
        is_classifier = "SequenceClassification" in config["architectures"][0]
        loader: Any = AutoModelForSequenceClassification if is_classifier else AutoModel
        _, info = loader.from_pretrained(directory, output_loading_info=True, trust_remote_code=False)
        assert not info["missing_keys"], place
        assert not info["mismatched_keys"], place
        assert (directory / "tokenizer.json").exists()
        assert (directory / "README.md").read_text().startswith("---\n"), place


def test_its_classifiers_repeat_the_predictions_of_the_run(ran: SimpleNamespace) -> None:
    compared = 0
    for file in sorted(ran.output.rglob("test_predictions.csv")):
        if not (file.parent / "model.safetensors").exists():
            continue
        with file.open(encoding="utf-8", newline="") as handle:
            rows = list(csv.DictReader(handle))
        found = nlp_ft.load(file.parent, device="cpu").predict([row["text"] for row in rows])
        for row, prediction in zip(rows, found, strict=True):
            if prediction.scores:
                for label, score in prediction.scores.items():
                    assert score == pytest.approx(float(row[f"score_{label}"]), abs=1e-4)
            else:
                assert prediction.score == pytest.approx(float(row["prediction"]), abs=1e-3)
            compared += 1
    config = json.loads((ran.output / next(iter(weights(ran.output))) / "config.json").read_text())
    assert compared or "SequenceClassification" not in config["architectures"][0]


def test_its_record_says_what_was_asked(ran: SimpleNamespace) -> None:
    record = json.loads((ran.output / "run.json").read_text())
    assert record["arguments"]["method"] == {"name": ran.method}
    assert record["arguments"]["training"]["use_cpu"] is True
    assert {"torch", "transformers"} <= set(record["versions"])
    assert record["seed"] == record["arguments"]["training"]["seed"]
    assert {"notes", "verdict", "log_history"} <= record.keys()
    assert record.get("data") or record["tasks"]
    assert json.loads((ran.output / "all_results.json").read_text()) == record["metrics"]
    assert record["metrics"]
    assert all(np.isfinite(value) for value in record["metrics"].values() if value is not None)


def test_no_checkpoint_and_no_pickle_is_left(unsaved: Path) -> None:
    left = [
        p.name for p in unsaved.rglob("*") if p.suffix in (".bin", ".pt", ".pkl", ".pth") or "checkpoint-" in p.name
    ]
    assert not left


def test_its_encoder_came_from_the_checkpoint(ran: SimpleNamespace) -> None:
    """A body that started at random instead would share no weight's sign pattern with the checkpoint's embeddings."""
    before = {**load_file(ran.world.checkpoint / "model.safetensors")}
    other = {**load_file(ran.world.learner / "model.safetensors")}
    for held in weights(ran.output).values():
        name = next(n for n in held if n.endswith("word_embeddings.weight"))
        key = "embeddings.word_embeddings.weight"
        same = [torch.sign(held[name]).eq(torch.sign(start[key])).float().mean().item() for start in (before, other)]
        assert max(same) > 0.8  # one half by chance


def test_a_run_that_was_cut_and_resumed_ends_as_one_that_was_not(ran: SimpleNamespace) -> None:
    if not ran.steps:
        pytest.skip("trains without a Trainer: nothing to resume")
    argv, cut = [*ran.argv, *SAVING], ran.folder / "cut"
    with counted_steps(stop=max(2, ran.steps - 1)):
        cli(ran.method, argv, cut, code=1)
    assert not (cut / "run.json").exists()
    resumed = [*argv, "--resume_from_checkpoint", "true"]
    with counted_steps() as taken:
        said = cli(ran.method, [*resumed, "--weight_decay", "0.123"], cut, code=2)
    assert "weight_decay" in said or "is finished, and of another run" in said
    assert taken == [0]  # another run's checkpoint is refused before anything is trained
    with counted_steps() as taken:
        cli(ran.method, resumed, cut)
    assert 0 < taken[0] < ran.steps  # it went on, and did not start over
    assert furthest(ran.output, cut) == 0


def assert_one_line(err: str, *words: str) -> None:
    """That a refusal is one line with these words in it."""
    assert err.count("\n") == 1
    assert err.startswith("nlp-ft: ")
    for said in words:
        assert said in err


def test_lora_trains_the_encoder_or_is_refused_with_the_reason(ran: SimpleNamespace, run_cli: RunCli) -> None:
    output, why = ran.folder / "lora", refuses(ran.method).get("lora")
    code, out, err = run_cli([ran.method, *ran.argv, "--use_peft", "--lora_r", "2", "--output_dir", output])
    assert code == (2 if why else 0), out + err
    if why:
        assert_one_line(err, "nlp-ft: --use_peft: ", why)
    else:
        assert moved(output, ran.world) > 1e-6


@pytest.mark.parametrize("kind", ["regression", "multi"])
def test_every_kind_of_label_works_or_is_refused_with_the_reason(
    ran: SimpleNamespace, kind: str, run_cli: RunCli
) -> None:
    world = world_of(ran.folder / kind / "world", ran.world.checkpoint, ran.world.learner, kind)
    output, why = ran.folder / kind / "run", refuses(ran.method).get(kind)
    code, out, err = run_cli([ran.method, *argv_of(ran.method, world), "--use_cpu", "--output_dir", output])
    assert code == (2 if why else 0), out + err
    if why:
        assert_one_line(err, why)
        return
    configs = [json.loads((output / place / "config.json").read_text()) for place in weights(output)]
    found = {config["problem_type"] for config in configs if "SequenceClassification" in config["architectures"][0]}
    if found:  # else a body, which knows of no labels
        assert {KINDS[kind]} <= found <= {KINDS[kind], REGRESSION}  # the latter: a second task's


def test_bad_rows_groups_and_a_sample_go_together(ran: SimpleNamespace, run_cli: RunCli) -> None:
    world = world_of(ran.folder / "grouped" / "world", ran.world.checkpoint, ran.world.learner)
    with world.train.open(encoding="utf-8", newline="") as handle:
        rows = [{**row, "group": i // 4} for i, row in enumerate(csv.DictReader(handle))]
    write_csv(world.train, rows)
    with world.train.open("a", encoding="utf-8") as handle:
        handle.write("lovely film,positive,99,a cell too many\n")
    world.validation = None  # it is split off
    argv, output = [ran.method, *argv_of(ran.method, world), "--use_cpu"], ran.folder / "grouped" / "run"
    flags = {"--skip_bad_rows": "true", "--group_column": "group", "--max_train_samples": "24"}
    for name in flags.keys() & refuses(ran.method).keys():
        code, out, err = run_cli([*argv, name, flags.pop(name), "--output_dir", output])
        assert code == 2, out + err
        assert_one_line(err, f"nlp-ft: {name}", refuses(ran.method)[name])
    given = [token for flag in flags.items() for token in flag]
    code, out, err = run_cli([*argv, *given, "--output_dir", output])
    assert code == 0, out + err
    records = [json.loads(path.read_text()).get("data", {}) for path in output.rglob("run.json")]
    records = [record for record in records if record.get("sources", {}).get("train") == str(world.train)]
    assert records or len(flags) == 1
    for record in records:
        assert record["left_out"]["rejected"]["train"] == 1
        assert "--max_train_samples" not in flags or record["rows"]["train"] == 24
        assert "--group_column" not in flags or record["split"]["group_column"] == "group"


def test_nothing_is_written_over(ran: SimpleNamespace) -> None:
    before = weights(ran.output)
    assert "holds something already" in cli(ran.method, ran.argv, ran.output, code=2)
    again = [*ran.argv, *SAVING, "--resume_from_checkpoint", "true"]
    assert "holds a finished run; there is nothing to resume" in cli(ran.method, again, ran.output, code=2)
    assert weights(ran.output).keys() == before.keys()


FAULTS = {
    "loss": ("transformers.Trainer.training_step", "the loss is nan at step 1; nothing of it was saved."),
    "gradient": ("accelerate.Accelerator.clip_grad_norm_", "the gradient norm is inf at step 1; lower --learning_rate"),
    "save": ("nlp_ft.training.save.largest_difference", "(off by 1, 0.1 allowed); do not use it, and report this."),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_run_that_went_wrong_leaves_no_model_and_no_record(
    ran: SimpleNamespace, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers that are not finite, and a saved model that does not answer as the trained one."""
    met: list[str] = []

    def broken(*_: Any, **__: Any) -> Any:
        met.append(fault)
        return (1.0, 0.1) if fault == "save" else torch.tensor({"loss": torch.nan, "gradient": torch.inf}[fault])

    place, message = FAULTS[fault]
    monkeypatch.setattr(place, broken)
    output, out, err = ran.folder / fault, io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([ran.method, *ran.argv, "--logging_steps", "1", "--output_dir", str(output)])
    if not met:
        pytest.skip("trains without a Trainer: there is no such number")
    assert code == 1, out.getvalue() + err.getvalue()
    assert_one_line(err.getvalue(), message)
    assert not (output / "run.json").exists()
    assert not (output / "model.safetensors").exists()
    assert "Saved in" not in out.getvalue()


@pytest.mark.slow
def test_two_processes_end_where_one_does(ran: SimpleNamespace, unsaved: Path) -> None:
    one, two = unsaved, ran.folder / "two"
    halves = ["--per_device_train_batch_size", "4", "--output_dir", str(two)]
    two_processes(ran.method, [*ran.argv, *SHARED_STEPS, *halves])
    # a last batch that is not full is filled up with rows of the first, which two processes do in their own way
    assert furthest(one, two) < (0.05 * moved(one, ran.world) or 1e-5)  # 1e-5: where the encoder is frozen


def moved(directory: Path, world: SimpleNamespace) -> float:
    """How far training took the encoder's layers from the nearest ones of the two checkpoints."""
    starts = [load_file(path / "model.safetensors") for path in (world.checkpoint, world.learner)]
    known = {name for start in starts for name in start if name.startswith("encoder.layer.")}
    found = []
    for held in weights(directory).values():
        for name in known & {name.removeprefix("bert.") for name in held}:
            weight = held[name] if name in held else held[f"bert.{name}"]
            of_layers = [
                other for start in starts for n, other in start.items() if n.split(".")[3:] == name.split(".")[3:]
            ]
            found.append(min((weight - other).abs().max().item() for other in of_layers))
    return max(found)


def test_the_world_has_no_text_twice() -> None:
    texts = [row["text"] for seed, count in enumerate(SPLITS.values()) for row in rows_of(count, seed)]
    assert len({text_digest(text) for text in texts}) == len(texts)
