"""The order of training rows, and what a control, a fold or a resumed run starts from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import MakeCsv, rows_of
from running import finetune_tiny, weights_hash
from transformers import TrainerState

import nlp_ft
from nlp_ft.errors import ConfigError
from nlp_ft.training.sampler import Clock, LengthGroups
from nlp_ft.training.trainer import CheckedTrainer

LENGTHS = np.random.default_rng(0).integers(3, 60, 130).tolist()


def order(epoch: float, rows: int = 8, seed: int = 1) -> list[int]:
    clock = Clock()
    clock.on_epoch_begin(None, TrainerState(epoch=epoch), None)
    return list(LengthGroups(LENGTHS, rows, seed, clock))


def test_every_epoch_holds_each_row_once_in_an_order_of_its_own() -> None:
    orders = [order(epoch) for epoch in (0, 1, 2)]
    assert all(sorted(found) == list(range(130)) for found in orders)
    assert orders[0] != orders[1] != orders[2]
    assert order(0, seed=2) != orders[0]


def test_the_order_follows_from_seed_and_epoch_whatever_chance_was_drawn_before() -> None:
    torch.manual_seed(0)
    first = order(1)
    torch.rand(17)
    assert order(1) == first
    assert order(1.5) == first  # of a run that goes on in the middle of the epoch
    assert order(0.9999999999) == first  # Trainer's sum of fractions


def test_updates_are_of_like_length() -> None:
    found = np.asarray(order(0))[:128].reshape(16, 8)
    spread = np.ptp(np.asarray(LENGTHS)[found], axis=1)
    assert np.median(spread) < np.ptp(LENGTHS) / 4


@pytest.fixture
def files(make_csv: MakeCsv) -> dict[str, Path]:
    sizes = {"train": 48, "validation": 20, "test": 20}
    return {name: make_csv(rows_of(count, seed), f"{name}.csv") for seed, (name, count) in enumerate(sizes.items())}


def test_the_classifiers_trainer_orders_its_rows_so(
    tiny_bert: Path, files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dropout moves each process's own chance on, so an order that is drawn from it would differ between them."""
    made = []
    plain = CheckedTrainer._get_train_sampler

    def caught(self: Any, *args: Any) -> Any:
        made.append(plain(self, *args))
        return made[-1]

    monkeypatch.setattr(CheckedTrainer, "_get_train_sampler", caught)
    finetune_tiny(tmp_path / "run", tiny_bert, files, num_train_epochs=1)
    (sampler,) = made
    assert isinstance(sampler, LengthGroups)
    assert sampler.rows == 16
    assert sorted(sampler) == list(range(48))


def test_layers_that_start_at_random_train_in_full_beside_adapters(
    tiny_bert: Path, files: dict[str, Path], tmp_path: Path
) -> None:
    texts = [row["text"] for row in rows_of(8, 5)]
    flags: dict[str, Any] = {"use_peft": True, "lora_r": 2, "reinit_layers": 1}
    whole = finetune_tiny(tmp_path / "whole", tiny_bert, files, **flags).output_dir
    alone = finetune_tiny(tmp_path / "alone", tiny_bert, files, **flags, save_adapter_only=True).output_dir
    answers = [nlp_ft.load(place, device="cpu").logits(texts) for place in (whole, whole / "adapter", alone)]
    np.testing.assert_allclose(answers[1], answers[0], atol=1e-4)
    np.testing.assert_allclose(answers[2], answers[0], atol=1e-4)


def test_a_control_leaves_the_run_as_it_is(tiny_bert: Path, files: dict[str, Path], tmp_path: Path) -> None:
    flags: dict[str, Any] = {"use_peft": True, "lora_r": 2, "layerwise_lr_decay": 0.5, "num_train_epochs": 1}
    alone = finetune_tiny(tmp_path / "alone", tiny_bert, files, **flags)
    beside = finetune_tiny(tmp_path / "beside", tiny_bert, files, **flags, with_control=True)
    assert weights_hash(alone.output_dir) == weights_hash(beside.output_dir)
    assert any(name.startswith("control_plain_") for name in beside.metrics)


@pytest.mark.parametrize("flags", [{"layerwise_lr_decay": 0.9}, {"gradual_unfreezing": 0.5}])
def test_layers_that_are_cut_up_cannot_go_each_at_its_own_rate(
    tiny_bert: Path, files: dict[str, Path], tmp_path: Path, flags: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")  # as accelerate launch does for a configuration file that says so
    with pytest.raises(ConfigError, match=f"^--{next(iter(flags))} does not go with FSDP or DeepSpeed"):
        finetune_tiny(tmp_path / "run", tiny_bert, files, **flags)


def test_a_run_that_is_its_own_control_is_refused_before_anything_else(
    tiny_bert: Path, files: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="its own control"):
        finetune_tiny(tmp_path / "run", tiny_bert, files, with_control=True, num_folds=2)
    assert not (tmp_path / "run").exists()


def test_the_control_of_a_resumed_run_starts_as_that_of_a_straight_one(
    tiny_bert: Path, files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags: dict[str, Any] = {"layerwise_lr_decay": 0.5, "with_control": True, "num_train_epochs": 2}
    straight = finetune_tiny(tmp_path / "straight", tiny_bert, files, **flags)
    steps, step = [0], CheckedTrainer.training_step

    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        steps[0] += 1
        if steps[0] == 11:  # 6 of the control, then the first epoch of the run and half of the second
            raise KeyboardInterrupt
        return step(self, *args, **kwargs)

    monkeypatch.setattr(CheckedTrainer, "training_step", counted)
    with pytest.raises(KeyboardInterrupt):
        finetune_tiny(tmp_path / "cut", tiny_bert, files, **flags)
    resumed = finetune_tiny(tmp_path / "cut", tiny_bert, files, **flags, resume_from_checkpoint=True)
    assert weights_hash(resumed.output_dir) == weights_hash(straight.output_dir)
    controls = [{n: v for n, v in run.metrics.items() if n.startswith("control_plain_")} for run in (straight, resumed)]
    assert controls[0] == controls[1]
