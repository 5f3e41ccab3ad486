"""Which layers train, how fast, from when on: by hand, on every family, and through whole runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import MakeCsv, rows_of
from running import finetune_tiny
from tiny import FAMILIES, classifier
from transformers import AutoModelForSequenceClassification

from nlp_ft.config import FreezeArguments, LoraArguments
from nlp_ft.errors import ConfigError
from nlp_ft.models.classifier import add_lora
from nlp_ft.models.layers import LayerwiseSchedule, encoder_layers, freeze, layer_list, parameter_depths, reinitialise
from nlp_ft.models.pooling import can_pool_by_mean, pool_by_mean


@pytest.fixture(params=FAMILIES)
def model(request: pytest.FixtureRequest) -> Any:
    """A tiny classifier of each family."""
    return classifier(request.param)[0]


def test_every_family_has_embeddings_two_layers_and_a_head(model: Any) -> None:
    assert len(encoder_layers(model)) == 2
    depth = parameter_depths(model)
    assert set(depth) == {name for name, _ in model.named_parameters()}
    assert set(depth.values()) == {0, 1, 2, 3}
    body = model.base_model_prefix + "."
    assert all(depth[name] == 3 for name in depth if not name.startswith(body))
    embeddings = {id(p) for p in model.get_input_embeddings().parameters()}
    assert all(depth[name] == 0 for name, p in model.named_parameters() if id(p) in embeddings)
    for number, layer in enumerate(encoder_layers(model), start=1):
        held = {id(p) for p in layer.parameters()}
        assert {depth[name] for name, p in model.named_parameters() if id(p) in held} == {number}


def test_the_pooling_layer_belongs_to_the_head(model: Any) -> None:
    if not can_pool_by_mean(model) or model.config.model_type == "modernbert":
        pytest.skip("pools in its own way")
    pool_by_mean(model)
    assert len(layer_list(model)[1]) == 3
    assert len(encoder_layers(model)) == 2
    added = {id(p) for p in layer_list(model)[1][-1].parameters()}
    assert {parameter_depths(model)[name] for name, p in model.named_parameters() if id(p) in added} == {3}


@pytest.mark.parametrize(("spec", "frozen"), [("embeddings", {0}), ("1", {0, 1}), ("all", {0, 1, 2})])
@pytest.mark.parametrize("lora", [False, True])
def test_freezing_stops_what_is_below_and_nothing_above(model: Any, spec: str, frozen: set[int], lora: bool) -> None:
    wrapped: Any = add_lora(model, LoraArguments(use_peft=True)) if lora else model
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    depth = parameter_depths(model)
    freeze(wrapped, spec)
    left = {name for name, p in model.named_parameters() if p.requires_grad}
    assert left == {name for name in trained if depth[name] not in frozen}
    assert left < trained or (lora and spec == "embeddings")


def test_frozen_layers_have_no_dropout_and_the_others_do() -> None:
    model, _ = classifier("bert")
    freeze(model, "1")
    model.train()
    seen: dict[str, bool] = {}
    for name in ("bert.embeddings", "bert.encoder.layer.0", "bert.encoder.layer.1"):
        model.get_submodule(name).register_forward_hook(lambda m, _, __, name=name: seen.update({name: m.training}))
    model(input_ids=torch.tensor([[2, 5, 6, 3]]))
    assert seen == {"bert.embeddings": False, "bert.encoder.layer.0": False, "bert.encoder.layer.1": True}


def test_more_layers_than_there_are_is_an_error(model: Any) -> None:
    with pytest.raises(ConfigError, match=r"^--freeze_layers 3: this encoder has 2 layers\.$"):
        freeze(model, "3")
    with pytest.raises(ConfigError, match=r"^--reinit_layers 3: this encoder has 2 layers\.$"):
        reinitialise(model, 3)


def test_only_the_top_layers_start_at_random(model: Any) -> None:
    before = {name: p.clone() for name, p in model.named_parameters()}
    depth = parameter_depths(model)
    reinitialise(model, 1)
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert {depth[name] for name in moved if ".pooler." not in name} == {2}
    assert sum(p.ndim == 2 and depth[name] == 2 and name in moved for name, p in model.named_parameters()) >= 4


def test_rates_fall_by_the_decay_from_layer_to_layer(model: Any) -> None:
    plan = LayerwiseSchedule(model, FreezeArguments(layerwise_lr_decay=0.5))
    rates = {parameter_depths(model)[name]: plan.lr_factor(p) for name, p in model.named_parameters()}
    assert rates == {3: 1.0, 2: 0.5, 1: 0.25, 0: 0.125}


def test_layers_are_freed_one_by_one_from_the_top(model: Any) -> None:
    plan = LayerwiseSchedule(model, FreezeArguments(gradual_unfreezing=0.6))
    depth = {id(p): parameter_depths(model)[name] for name, p in model.named_parameters()}

    def training(progress: float) -> set[int]:
        waiting = {id(p) for p in plan.frozen_at(model.parameters(), progress)}
        return {level for key, level in depth.items() if key not in waiting}

    assert training(0) == {3}
    assert training(0.19) == {3}
    assert training(0.2) == {3, 2}
    assert training(0.4) == {3, 2, 1}
    assert training(0.59) == {3, 2, 1}
    assert training(0.6) == {3, 2, 1, 0}


def test_layers_that_wait_do_not_move_and_all_move_in_the_end(
    tiny_bert: Path, make_csv: MakeCsv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nlp_ft.training.trainer import ClassifierTrainer

    files = {
        name: make_csv(rows_of(n, seed), f"{name}.csv") for seed, (name, n) in enumerate([("train", 48), ("test", 20)])
    }
    step, moved = ClassifierTrainer.training_step, []

    def watched(self: Any, *args: Any, **kwargs: Any) -> Any:
        depth = parameter_depths(self.model)
        if not moved:
            self.start = {name: p.detach().clone() for name, p in self.model.named_parameters()}
        moved.append({depth[name] for name, p in self.model.named_parameters() if not torch.equal(p, self.start[name])})
        return step(self, *args, **kwargs)

    monkeypatch.setattr(ClassifierTrainer, "training_step", watched)
    flags: dict[str, Any] = {
        "gradual_unfreezing": 0.75,
        "layerwise_lr_decay": 0.9,
        "num_train_epochs": 2,
        "per_device_train_batch_size": 12,
        "weight_decay": 0.1,
        "learning_rate": 1e-3,
        "warmup_steps": 0,
    }
    finetune_tiny(tmp_path / "run", tiny_bert, files, **flags)
    assert moved[0] == set()
    assert moved[1] == moved[2] == {3}  # what moved before the second and third of 8 updates
    assert moved[3] == {2, 3}
    assert moved[-1] == {0, 1, 2, 3}


def test_a_frozen_run_leaves_the_checkpoints_layers_as_they_were(
    tiny_bert: Path, tiny_csv: dict[str, Path], tmp_path: Path
) -> None:
    run = finetune_tiny(tmp_path / "run", tiny_bert, tiny_csv, freeze_layers="1", learning_rate=1e-2)
    assert "frozen: the embeddings and the lowest 1 of 2 layers" in run.notes
    before = AutoModelForSequenceClassification.from_pretrained(tiny_bert).state_dict()
    after = AutoModelForSequenceClassification.from_pretrained(run.output_dir).state_dict()
    for name, weight in before.items():
        if name.startswith(("bert.embeddings", "bert.encoder.layer.0.")):
            assert torch.equal(weight, after[name]), name
    assert not torch.equal(
        before["bert.encoder.layer.1.output.dense.weight"], after["bert.encoder.layer.1.output.dense.weight"]
    )


def test_the_control_is_the_same_run_without_it(
    tiny_bert: Path, tiny_csv: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags: dict[str, Any] = {"num_train_epochs": 1, "learning_rate": 1e-2}
    plain = finetune_tiny(tmp_path / "plain", tiny_bert, tiny_csv, **flags)
    run = finetune_tiny(tmp_path / "run", tiny_bert, tiny_csv, **flags, freeze_layers="all", with_control=True)
    control = run.baselines["plain"]
    assert np.array_equal(control.logits, plain.test_logits)
    assert run.metrics["control_plain_auroc"] == plain.metrics["test_auroc"]
    assert np.abs(run.test_logits - plain.test_logits).max() > 1e-3
    assert not (tmp_path / "run/controls").exists()
    assert "over the plain run" in capsys.readouterr().out
    with pytest.raises(ConfigError, match=r"^--with_control: this run is its own control"):
        finetune_tiny(tmp_path / "none", tiny_bert, tiny_csv, **flags, with_control=True)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"freeze_layers": "some"}, "--freeze_layers must be a number of layers, embeddings or all, got 'some'."),
        ({"freeze_layers": "-1"}, "--freeze_layers must be a number of layers, embeddings or all, got '-1'."),
        ({"gradual_unfreezing": 0.0}, "--gradual_unfreezing must be above 0 and at most 1, got 0.0."),
        ({"gradual_unfreezing": float("nan")}, "--gradual_unfreezing must be above 0 and at most 1, got nan."),
        ({"layerwise_lr_decay": 1.5}, "--layerwise_lr_decay must be above 0 and at most 1, got 1.5."),
        ({"reinit_layers": -1}, "--reinit_layers must be at least 0, got -1."),
    ],
)
def test_a_value_out_of_range_is_named(flags: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        FreezeArguments(**flags)
    assert str(caught.value) == said
