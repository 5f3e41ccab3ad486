"""Meta-learning: the gradients by hand, tasks that are really held out, and whole runs on a tiny checkpoint."""

from __future__ import annotations

import csv
import importlib.util
import json
import random
import shutil
import sys
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from conftest import BAD, FILLERS, GOOD, ROOT, THINGS, RunCli, write_csv
from datasets import Dataset
from running import SGD, as_argv, assert_same_weights, finetune_tiny, run_method, two_processes, weights_hash
from torch import Tensor, nn
from torch.nn import functional

from nlp_ft.config import ModelArguments
from nlp_ft.config.parser import parse
from nlp_ft.errors import ConfigError
from nlp_ft.methods import meta
from nlp_ft.methods.meta.episodes import META_TEST, META_TRAIN, Pool, draw
from nlp_ft.methods.meta.learner import MetaLearner, MultiTask, prototype_logits
from nlp_ft.methods.meta.report import Arm, interval, sentence, verdict
from nlp_ft.methods.meta.trainer import Start, save_body, without_last_layer
from nlp_ft.models.classifier import load_classifier, load_tokenizer
from nlp_ft.training.run_report import RunReport

pytestmark = pytest.mark.xdist_group("test_meta")  # one process makes what its tests share
REFUSES = {
    "regression": "tasks are made of classes, one a row, and this is a regression",
    "multi": "tasks are made of classes, one a row",
    "--group_column": "data sets are named by --meta_train_file and --meta_test_file",
    "--max_train_samples": "episodes draw their rows",
}


def contract_argv(world: Any) -> list[str]:
    """The flags that run this method on a tiny world: its training rows as one data set, its test rows as another."""
    files = {"model_name_or_path": world.learner, "meta_train_file": world.train, "meta_test_file": world.test}
    sizes = {"shots": 2, "query": 2, "test_episodes": 4, "max_steps": 4, "learning_rate": 1e-3}
    return as_argv(**files, **sizes)


RATES = {"encoder_rate": 0.3, "head_rate": 0.7}


class TwoLayers(nn.Module):
    """4 numbers a row -> 5 -> 3 features, in float64."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Any:
        return SimpleNamespace(logits=self.second(torch.tanh(self.first(x))))


def small(algorithm: str, steps: int = 3, seed: int = 0) -> MetaLearner:
    torch.manual_seed(seed)
    return MetaLearner(TwoLayers().double(), algorithm, steps, **RATES)


def episode(seed: int, ways: int = 2, rows: int = 3) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(ways, 4, generator=generator, dtype=torch.float64)
    labels = torch.arange(ways).repeat_interleave(rows)
    made: dict[str, Any] = {"pool": 0, "classes": torch.arange(ways)}
    for part in ("support", "query"):
        noise = torch.randn(len(labels), 4, generator=generator, dtype=torch.float64)
        made |= {part: {"x": centres[labels] + 0.5 * noise}, f"{part}_labels": labels}
    return made


def gradient(model: MetaLearner, episodes: Sequence[dict[str, Any]]) -> Tensor:
    model.zero_grad()
    model(episodes)["loss"].backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def finite_differences(model: MetaLearner, episodes: Sequence[dict[str, Any]]) -> Tensor:
    """Central differences of the loss, weight by weight."""
    found, step = [], 1e-5
    for parameter in model.parameters():
        cells = parameter.data.view(-1)
        for i in range(len(cells)):
            losses = []
            for sign in (1, -1):
                cells[i] += sign * step
                losses.append(model(episodes)["loss"].item())
                cells[i] -= sign * step
            found.append((losses[0] - losses[1]) / (2 * step))
    return torch.tensor(found, dtype=torch.float64)


@pytest.mark.parametrize("algorithm", ["maml", "anil", "proto"])
@pytest.mark.parametrize("ways", [2, 3])
def test_the_meta_gradient_is_that_of_finite_differences(algorithm: str, ways: int) -> None:
    model, episodes = small(algorithm), [episode(1, ways), episode(2, ways)]
    exact = finite_differences(model, episodes)
    assert exact.abs().max() > 1e-2
    assert torch.allclose(gradient(model, episodes), exact, atol=1e-8)


def test_the_first_order_gradient_is_another_one() -> None:
    episodes = [episode(1), episode(2)]
    exact = finite_differences(small("fomaml"), episodes)
    first_order = gradient(small("fomaml"), episodes)
    assert (first_order - exact).abs().max() > 0.05 * exact.abs().max()


def adapted_by_hand(
    model: MetaLearner, batches: Sequence[tuple[Tensor, Tensor]], steps: int
) -> tuple[nn.Module, Tensor, Tensor]:
    """Plain SGD on a copy of the encoder and a head of zeros."""
    copy = TwoLayers().double()
    copy.load_state_dict(model.encoder.state_dict())
    weight, bias = torch.zeros(2, 3, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    for number in range(steps):
        x, labels = batches[number % len(batches)]
        head = [weight.clone().requires_grad_(), bias.clone().requires_grad_()]
        loss = functional.cross_entropy(functional.linear(copy(x).logits, *head), labels)
        *by_encoder, by_weight, by_bias = torch.autograd.grad(loss, [*copy.parameters(), *head])
        with torch.no_grad():
            for parameter, grad in zip(copy.parameters(), by_encoder, strict=True):
                parameter -= RATES["encoder_rate"] * grad
            weight, bias = weight - RATES["head_rate"] * by_weight, bias - RATES["head_rate"] * by_bias
    return copy, weight, bias


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_fomaml_is_the_gradient_at_the_weights_that_plain_sgd_leads_to(steps: int) -> None:
    model, one = small("fomaml", steps), episode(3)
    copy, weight, bias = adapted_by_hand(model, [(one["support"]["x"], one["support_labels"])], steps)
    loss = functional.cross_entropy(
        functional.linear(copy(one["query"]["x"]).logits, weight, bias), one["query_labels"]
    )
    by_hand = torch.cat([g.flatten() for g in torch.autograd.grad(loss, [*copy.parameters()])])
    assert torch.allclose(gradient(model, [one]), by_hand, atol=1e-12)
    assert model([one])["loss"].item() == pytest.approx(loss.item())


def test_fomaml_is_maml_without_a_graph_of_its_steps() -> None:
    one, second = episode(3), small("maml")
    support = [(one["support"], one["support_labels"])]
    for order in (False, True):
        adapted = second.adapt(support, 2, second_order=order)
        loss = functional.cross_entropy(
            functional.linear(second.features(one["query"], adapted.fast), adapted.weight, adapted.bias),
            one["query_labels"],
        )
        grads = torch.cat([g.flatten() for g in torch.autograd.grad(loss, [*second.parameters()])])
        assert torch.allclose(grads, gradient(small("maml" if order else "fomaml"), [one]), atol=1e-12)


def test_reptile_goes_towards_the_mean_of_the_adapted_weights() -> None:
    model, episodes = small("reptile", 4), [episode(3), episode(4)]
    start = torch.cat([p.detach().flatten() for p in model.encoder.parameters()])
    ends = []
    for one in episodes:
        batches = [(one[part]["x"], one[f"{part}_labels"]) for part in ("support", "query")]
        copy, _, _ = adapted_by_hand(model, batches, 4)
        ends.append(torch.cat([p.detach().flatten() for p in copy.parameters()]))
    wanted = start - torch.stack(ends).mean(dim=0)
    assert wanted.abs().max() > 1e-2
    assert torch.allclose(gradient(model, episodes), wanted, atol=1e-12)
    assert model(episodes)["loss"].item() > 0


def test_prototype_logits_by_hand() -> None:
    features = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
    means = torch.tensor([[0.0, 1.0], [3.0, 0.0]])
    assert prototype_logits(features, means).tolist() == [[-1.0, -9.0], [-18.0, -16.0]]


def test_the_prototype_loss_by_hand() -> None:
    model, one = small("proto"), episode(5)
    with torch.no_grad():
        support, query = (model.encoder(one[part]["x"]).logits.numpy() for part in ("support", "query"))
    means = np.stack([support[:3].mean(axis=0), support[3:].mean(axis=0)])
    scores = -((query[:, None] - means[None]) ** 2).sum(axis=-1)
    right = scores[np.arange(6), one["query_labels"].numpy()]
    assert model([one])["loss"].item() == pytest.approx((np.log(np.exp(scores).sum(axis=1)) - right).mean())


def test_anil_moves_no_weight_of_the_encoder_in_its_steps() -> None:
    one = episode(3)
    support = [(one["support"], one["support_labels"])]
    assert not small("anil").adapt(support, 2).fast
    moved = small("fomaml").adapt(support, 2).fast
    start = dict(small("fomaml").encoder.named_parameters())
    assert all((moved[name] - start[name]).abs().max() > 1e-4 for name in ("first.weight", "second.weight"))


def test_frozen_weights_take_no_inner_step() -> None:
    model = small("fomaml")
    model.encoder.get_submodule("first").requires_grad_(False)
    assert set(model.inner_weights()) == {"second.weight", "second.bias"}


def test_the_encoder_stays_without_dropout_in_training() -> None:
    model = small("maml").train()
    model([episode(6)])
    assert model.training
    assert not model.encoder.training


def test_accuracies_are_chance_at_zero_steps_and_those_of_sgd_after_some() -> None:
    model, one = small("maml", 2), episode(6, rows=8)
    found = model.accuracies(one, (0, 2, 4))
    assert set(found) == {"adapted_0", "adapted_2", "adapted_4", "centroids"}
    assert found["adapted_0"] == 0.5
    for steps in (2, 4):
        copy, weight, bias = adapted_by_hand(model, [(one["support"]["x"], one["support_labels"])], steps)
        answers = functional.linear(copy(one["query"]["x"]).logits, weight, bias).argmax(dim=-1)
        assert found[f"adapted_{steps}"] == pytest.approx((answers == one["query_labels"]).double().mean().item())
    assert all(p.grad is None for p in model.parameters())


def test_the_control_learns_each_data_set_with_its_own_head_and_its_own_classes() -> None:
    torch.manual_seed(0)
    control = MultiTask(TwoLayers().double(), 3, [2, 5]).double()
    one = {**episode(1), "pool": 1, "classes": torch.tensor([4, 2])}
    loss = control([one])["loss"]
    assert loss.item() == pytest.approx(np.log(5))  # heads start at zero
    loss.backward()
    heads: Any = control.heads
    first, second = heads
    assert first.weight.grad is None
    assert second.bias.grad.tolist() == pytest.approx([0.2, 0.2, -0.3, 0.2, -0.3])


# ---- episodes


def pool(name: str, sizes: Sequence[int]) -> Pool:
    ends = np.cumsum(sizes)
    indices = [np.arange(end - size, end) for size, end in zip(sizes, ends, strict=True)]
    rows = Dataset.from_dict({"text": [f"{name} {i}" for i in range(ends[-1])]})
    keys = [f"{name} {i}".encode() for i in range(ends[-1])]
    return Pool(name, [f"c{i}" for i in range(len(sizes))], indices, rows, keys, lambda row: f"{name}:{row}")


def test_an_episode_follows_from_its_seed_and_number_and_support_and_query_are_apart() -> None:
    pools = [pool("a", [10, 12, 9]), pool("b", [20, 20])]
    seen: set[tuple[int, ...]] = set()
    for number in range(60):
        drawn = draw(pools, 2, 3, 4, seed=1, stream=META_TRAIN, number=number)
        again = draw(pools, 2, 3, 4, seed=1, stream=META_TRAIN, number=number)
        assert drawn.pool == again.pool
        assert np.array_equal(drawn.support, again.support)
        assert drawn.support.shape == (2, 3)
        assert drawn.query.shape == (2, 4)
        rows = [*drawn.support.ravel(), *drawn.query.ravel()]
        assert len(set(rows)) == len(rows)
        for i, label in enumerate(drawn.classes):
            assert {*drawn.support[i], *drawn.query[i]} <= {*pools[drawn.pool].indices[label]}
        seen.add((drawn.pool, *drawn.classes))
    # each order of each pair of classes comes up: 6 of the three classes, 2 of the two
    assert len(seen) == 8
    other = draw(pools, 2, 3, 4, seed=1, stream=META_TEST, number=0)
    first = draw(pools, 2, 3, 4, seed=1, stream=META_TRAIN, number=0)
    assert not np.array_equal(other.support, first.support)


def test_a_data_set_with_fewer_classes_gives_episodes_of_all_it_has() -> None:
    shapes = {
        draw([pool("a", [9, 9]), pool("b", [9] * 4)], 3, 2, 2, seed=0, stream=0, number=n).support.shape
        for n in range(20)
    }
    assert shapes == {(2, 2), (3, 2)}


# ---- statistics


def test_the_interval_is_students() -> None:
    mean, half = interval(np.array([0.5, 0.6, 0.7, 0.8]))
    assert mean == pytest.approx(0.65)
    assert half == pytest.approx(3.182446 * 0.1290994 / 2, rel=1e-5)


def test_a_sentence_says_what_the_paired_differences_say() -> None:
    theirs = np.array([0.5, 0.6, 0.7, 0.8] * 10)
    assert sentence(theirs + np.tile([0.04, 0.06], 20), theirs, "it").startswith(
        "It beats it by 5.0 points of accuracy (70.0 "
    )
    assert sentence(theirs - np.tile([0.04, 0.06], 20), theirs, "it").startswith("It is worse than it by 5.0 points of")
    assert sentence(theirs + np.tile([0.1, -0.08], 20), theirs, "it") == (
        "It cannot be told from it: +1.0 points of accuracy (66.0 against 65.0 %; 95 % interval of the difference -1.9 to 3.9)."
    )


@pytest.mark.parametrize(("algorithm", "used"), [("proto", 0.9), ("maml", 0.7)])
def test_what_is_compared_is_fixed_by_the_algorithm_and_not_by_the_test(algorithm: str, used: float) -> None:
    def arm(name: str, adapted: float, centroids: float) -> Arm:
        return Arm(name, name, [{"adapted_3": adapted, "centroids": centroids}] * 3)

    said = verdict([arm("meta", 0.7, 0.9), arm("plain", 0.6, 0.5)], algorithm, 3).splitlines()
    assert f"({100 * used:.1f} against 60.0 %" in said[1]
    assert f"({100 * used:.1f} against 50.0 %" in said[2]
    assert said[3] == "These are few episodes; --test_episodes 100 or more say more."


# ---- whole runs


def themed(path: Path, groups: Mapping[str, Sequence[str]], seed: int, count: int = 12) -> Path:
    """A data set whose classes differ by two words of a text."""
    rng = random.Random(seed)
    return write_csv(
        path,
        [
            {"text": " ".join([*rng.sample(FILLERS, 6), *rng.sample(words, 2)]), "label": label}
            for label, words in groups.items()
            for _ in range(count)
        ],
    )


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Data sets a (3 classes) and b (2) to learn on, d (3, other words) to be judged by."""
    folder = tmp_path_factory.mktemp("suite")
    groups = {
        "a": {"good": GOOD[:5], "bad": BAD[:5], "thing": THINGS[:7]},
        "b": {"lovely": GOOD[:5], "story": THINGS[:7]},
        "d": {"x": GOOD[5:], "y": BAD[5:], "z": THINGS[7:]},
    }
    return {name: themed(folder / f"{name}.csv", g, seed) for seed, (name, g) in enumerate(groups.items())}


TINY: dict[str, Any] = {"shots": 3, "query": 3, "test_episodes": 6, "max_steps": 4, "learning_rate": 3e-3}


def argv_of(output: Path, checkpoint: Path, suite: dict[str, Path], **flags: Any) -> list[str]:
    chosen = {
        "model_name_or_path": checkpoint,
        "output_dir": output,
        "meta_train_file": [suite["a"], suite["b"]],
        "meta_test_file": suite["d"],
        "use_cpu": True,
    }
    return as_argv(**{**chosen, **TINY, **flags})


def meta_tiny(output: Path, checkpoint: Path, suite: dict[str, Path], **flags: Any) -> RunReport:
    return meta.run(*parse(*meta.ARGUMENTS, argv=argv_of(output, checkpoint, suite, **flags)))


@pytest.mark.parametrize(
    ("algorithm", "use_peft"), [("maml", False), ("maml", True), ("anil", False), ("reptile", True), ("proto", False)]
)
def test_every_algorithm_moves_the_encoder_and_ends_in_a_body(
    learner: Path, suite: dict[str, Path], tmp_path: Path, algorithm: str, use_peft: bool
) -> None:
    from transformers import AutoModel

    run = meta_tiny(tmp_path / "run", learner, suite, algorithm=algorithm, use_peft=use_peft, max_steps=2)
    model, info = AutoModel.from_pretrained(run.output_dir, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    start = AutoModel.from_pretrained(learner).state_dict()
    name = "encoder.layer.0.attention.self.value.weight"
    assert (model.state_dict()[name] - start[name]).abs().max() > 1e-5
    assert set(run.metrics) >= {"meta_adapted_3_accuracy", "plain_centroids_accuracy", "plain_adapted_6_interval"}


@pytest.fixture(scope="module")
def finished(learner: Path, suite: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> RunReport:
    """A run with its control, whose checkpoints were kept because a save flag was given."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    return meta_tiny(folder, learner, suite, with_control=True, save_steps=2, test_episodes=8)


def test_a_run_leaves_every_episode_its_arguments_and_a_card(finished: RunReport, suite: dict[str, Path]) -> None:
    held = {path.name for path in finished.output_dir.iterdir() if not path.name.startswith("checkpoint-")}
    written = {"README.md", "all_results.json", "config.json", "meta_test.json", "model.safetensors", "run.json"}
    assert held == {*written, "tokenizer.json", "tokenizer_config.json"}
    test = json.loads((finished.output_dir / "meta_test.json").read_text())
    assert len(test["episodes"]) == 8
    assert set(test["arms"]) == {"meta", "plain", "multitask"}
    for one in test["episodes"]:
        assert one["data"] == str(suite["d"])
        assert len({*one["classes"]} & {"x", "y", "z"}) == 2
        assert one["plain"]["adapted_0"] == 0.5
    found = [one["meta"]["adapted_3"] for one in test["episodes"]]
    assert finished.metrics["meta_adapted_3_accuracy"] == pytest.approx(np.mean(found))
    record = json.loads((finished.output_dir / "run.json").read_text())
    assert record["arguments"]["meta"]["algorithm"] == "fomaml"
    assert [one["classes"] for one in record["data"]["meta_test"]] == [{"x": 12, "y": 12, "z": 12}]
    card = (finished.output_dir / "README.md").read_text()
    assert "| meta-learned (fomaml) | 50.0 ± 0.0 |" in card
    assert finished.verdict in card


def test_finetune_goes_on_from_the_initialisation(
    finished: RunReport, tiny_csv: dict[str, Path], tmp_path: Path
) -> None:
    run = finetune_tiny(tmp_path / "run", finished.output_dir, tiny_csv, num_train_epochs=1)
    assert not [note for note in run.notes if note.startswith(("head: started anew", "checkpoint:"))]


def test_the_same_seed_gives_the_same_weights_and_the_same_test(
    finished: RunReport, learner: Path, suite: dict[str, Path], tmp_path: Path
) -> None:
    again = meta_tiny(tmp_path / "run", learner, suite, test_episodes=8)
    assert weights_hash(again.output_dir) == weights_hash(finished.output_dir)
    assert again.metrics["plain_adapted_6_accuracy"] == finished.metrics["plain_adapted_6_accuracy"]


def test_a_resumed_run_ends_as_an_uninterrupted_one_to_the_bit(
    finished: RunReport, learner: Path, suite: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished.output_dir / "checkpoint-2", folder / "checkpoint-2")
    meta_tiny(folder, learner, suite, save_steps=2, test_episodes=8, resume_from_checkpoint="true")
    assert weights_hash(folder) == weights_hash(finished.output_dir)
    (folder / "run.json").unlink()
    with pytest.raises(ConfigError, match="its inner_steps is 3, this one's is 2"):
        meta_tiny(folder, learner, suite, inner_steps=2, resume_from_checkpoint="true")


@pytest.mark.parametrize("family", ["roberta", "distilbert", "modernbert", "deberta-v2", "xlnet", "gpt2", "llama"])
def test_a_saved_body_of_every_family_repeats_its_features_and_maml_goes_through_it(
    family: str, tmp_path: Path
) -> None:
    args = ModelArguments(model_name_or_path=str(tiny.checkpoint(family)), attn_implementation="eager")
    tokenizer = load_tokenizer(args)
    torch.manual_seed(0)
    model, _, _ = load_classifier(args, tokenizer, tiny.SINGLE, ["LABEL_0", "LABEL_1"])
    width = without_last_layer(model)
    batch = dict(tokenizer(tiny.TEXTS, padding=True, return_tensors="pt"))
    labels = torch.arange(len(tiny.TEXTS)) % 2
    one = {
        "support": batch,
        "query": batch,
        "support_labels": labels,
        "query_labels": labels,
        "classes": torch.arange(2),
    }
    MetaLearner(model, "maml", 3, 0.05, 0.5)([one])["loss"].backward()
    moved = [(p, p.grad) for p in model.parameters() if p.grad is not None and p.grad.abs().max() > 0]
    assert len(moved) > 10
    with torch.no_grad():
        for parameter, by in moved:
            parameter -= 0.1 * by
    save_body(Start(model, width, tokenizer, 32, []), tmp_path, tiny.TEXTS)  # raises where it does not repeat them


def test_mean_pooling_goes_along_in_the_configuration(learner: Path, suite: dict[str, Path], tmp_path: Path) -> None:
    run = meta_tiny(tmp_path / "run", learner, suite, pooling="mean", algorithm="proto", max_steps=1)
    config = json.loads((run.output_dir / "config.json").read_text())
    assert config["nlp_ft_pooling"] == "mean"
    assert config["num_hidden_layers"] == 2  # one of them is the one that pools


# ---- what is refused


def refused(run_cli: RunCli, tmp_path: Path, suite: dict[str, Path], **flags: Any) -> str:
    (tmp_path / "none").mkdir(exist_ok=True)
    code, _, err = run_cli(["meta", *argv_of(tmp_path / "refused", tmp_path / "none", suite, **flags)])
    assert code == 2
    return err.strip()


def test_a_test_text_that_was_trained_on_is_refused_with_its_places(
    run_cli: RunCli, suite: dict[str, Path], tmp_path: Path
) -> None:
    with suite["a"].open(newline="") as handle:
        first = next(csv.DictReader(handle))
    with suite["d"].open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    leaky = write_csv(tmp_path / "leaky.csv", [*rows, {"text": f"  {first['text'].upper()}", "label": "x"}])
    assert refused(run_cli, tmp_path, suite, meta_test_file=leaky) == (
        f"nlp-ft: {leaky}: 1 text of meta-test is in meta-train too ({leaky}:38 = {suite['a']}:2), so its figures would "
        "flatter the initialisation; take them out of one of the two."
    )


def test_a_file_on_both_sides_is_refused(run_cli: RunCli, suite: dict[str, Path], tmp_path: Path) -> None:
    assert refused(run_cli, tmp_path, suite, meta_test_file=suite["b"]) == (
        f"nlp-ft: --meta_test_file {suite['b']} is a --meta_train_file too; the test must be of tasks that were never "
        "trained on."
    )


def test_classes_can_be_held_out_of_one_data_set(learner: Path, tmp_path: Path) -> None:
    halves = {f"{name}{i}": words[4 * i : 4 * i + 4] for name, words in (("g", GOOD), ("b", BAD)) for i in (0, 1)}
    one = themed(tmp_path / "one.csv", halves, 3)
    flags = {"meta_train_file": one, "meta_test_file": None, "meta_test_classes": ["g1", "b1"], "algorithm": "proto"}
    run = meta_tiny(tmp_path / "run", learner, {"a": one, "b": one, "d": one}, **flags)
    test = json.loads((run.output_dir / "meta_test.json").read_text())
    assert {name for found in test["episodes"] for name in found["classes"]} == {"g1", "b1"}
    record = json.loads((run.output_dir / "run.json").read_text())
    assert [*record["data"]["meta_train"][0]["classes"]] == ["b0", "g0"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"meta_test_file": None}, "give --meta_test_file or --meta_test_classes, one of the two; neither came."),
        ({"meta_test_classes": ["x"]}, "give --meta_test_file or --meta_test_classes, one of the two; both came."),
        (
            {"meta_test_file": None, "meta_test_classes": ["good", "storry"]},
            "--meta_test_classes storry: no data set has this class; there are bad, good, thing, lovely, story. Did you mean "
            "'story'?",
        ),
        (
            {"meta_test_file": None, "meta_test_classes": ["good"]},
            "without a --meta_test_file, --meta_test_classes must name two classes or more to hold out.",
        ),
        ({"ways": 1}, "--ways must be at least 2, got 1."),
        ({"algorithm": "reptile", "inner_steps": 1}, "--inner_steps must be at least 2, got 1."),
        ({"head_learning_rate": "nan"}, "--head_learning_rate must be above 0, got nan."),
        (
            {"num_train_epochs": 3},
            "--num_train_epochs means nothing to meta: --max_steps counts the updates, and the last one is saved: nothing is "
            "chosen by a validation split.",
        ),
        (
            {"algorithm": "maml", "attn_implementation": "sdpa"},
            "--attn_implementation sdpa: --algorithm maml differentiates twice, which only eager attention can; leave the flag "
            "out.",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    run_cli: RunCli, suite: dict[str, Path], tmp_path: Path, flags: dict[str, Any], message: str
) -> None:
    assert refused(run_cli, tmp_path, suite, **flags) == f"nlp-ft: {message}"


def test_a_numeric_target_is_no_task(run_cli: RunCli, suite: dict[str, Path], tmp_path: Path) -> None:
    numbers = write_csv(tmp_path / "n.csv", [{"text": f"text {i}", "label": i / 7} for i in range(20)])
    assert refused(run_cli, tmp_path, suite, meta_train_file=numbers) == (
        f"nlp-ft: {numbers}: tasks are made of classes, one a row, and this is a regression; numbers that are classes become "
        "so by --problem_type single_label_classification, others can be cut into bands as recipes/data/score_bands.py does."
    )


def test_classes_too_small_for_an_episode_are_left_out_aloud_and_one_alone_is_refused(
    run_cli: RunCli, learner: Path, suite: dict[str, Path], tmp_path: Path
) -> None:
    with suite["b"].open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    small = write_csv(tmp_path / "small.csv", [*rows[:12], *rows[12:15]])
    assert refused(run_cli, tmp_path, suite, meta_train_file=small) == (
        f"nlp-ft: {small}: 1 class with 6 rows (--shots and --query together) or more to draw tasks from; wanted two at least."
    )
    third = write_csv(tmp_path / "third.csv", [*rows, {"text": "so so", "label": "rare"}, rows[0]])
    run = meta_tiny(tmp_path / "run", learner, suite, meta_train_file=third, algorithm="proto", max_steps=1)
    assert f"{third}: left out, with fewer than the 6 rows of an episode: rare (1)" in run.notes
    assert f"{third}: 1 row left out, of a text that stands there before" in run.notes


# ---- several processes


@pytest.mark.slow
def test_two_processes_take_the_steps_of_one(learner: Path, suite: dict[str, Path], tmp_path: Path) -> None:
    flags = {**SGD, "learning_rate": 20, "algorithm": "maml"}
    sizes = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 2}
    two_processes("meta", argv_of(tmp_path / "two", learner, suite, **flags, **sizes))
    one = meta_tiny(tmp_path / "one", learner, suite, **flags, per_device_train_batch_size=4)
    record = json.loads((tmp_path / "two" / "run.json").read_text())
    assert record["arguments"]["processes"] == 2
    assert_same_weights(tmp_path / "one", tmp_path / "two", learner)
    for name in ("plain_adapted_3_accuracy", "meta_adapted_3_accuracy", "meta_centroids_accuracy"):
        assert record["metrics"][name] == pytest.approx(one.metrics[name])


# ---- data scripts


def script(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, ROOT / "recipes/data" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_score_bands_share_no_text_and_keep_the_first_of_equal_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bands = script("score_bands")
    assert [bands.band(x) for x in (-4, -1.5, -0.5, 0, 0.5, 1.49, 4)] == [
        "very negative", "negative", "neutral", "neutral", "positive", "positive", "very positive",
    ]  # fmt: skip
    for domain in bands.DOMAINS:
        (tmp_path / "data" / domain).mkdir(parents=True)
        for number, split in enumerate(bands.SPLITS):
            rows = [{"text": f"{domain} {split}", "score": number}, {"text": "Everywhere  so", "score": 3}]
            write_csv(tmp_path / "data" / domain / f"{split}.csv", [*rows, {"text": f"{domain} TRAIN", "score": -4}])
    monkeypatch.setattr(
        sys, "argv", ["x", "--data_dir", str(tmp_path / "data"), "--output_dir", str(tmp_path / "bands")]
    )
    bands.main()
    with (tmp_path / "bands" / "nyt.csv").open(newline="") as handle:
        assert [tuple(row.values()) for row in csv.DictReader(handle)] == [
            ("nyt train", "neutral"), ("nyt validation", "positive"), ("nyt test", "very positive"),
        ]  # fmt: skip


def test_spam_is_read_out_of_the_package_without_headers_and_tags(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = "From a@b\nX-Spam: no\nSubject: =?utf-8?q?Caf=C3=A9?=\n\nHello\n  there\n"
    page = "Subject: Win\nContent-Type: text/html; charset=nonsense\n\n<style>p{}</style><p>Now <b>free</b>!</p>\n"
    mails = {"easy-ham-1/1": plain, "easy-ham-1/2": plain, "spam-2/1": page}
    (tmp_path / "package").mkdir()
    with tarfile.open(tmp_path / "x.tgz", "w:gz") as archive:
        for place, text in mails.items():
            group = place.partition("/")[0]
            path = tmp_path / "mail.json"
            path.write_text(json.dumps({"group": group, "text": text}))
            archive.add(path, f"package/data/{place}.json")
    flags = ["--archive", str(tmp_path / "x.tgz"), "--output_dir", str(tmp_path / "spam")]
    monkeypatch.setattr(sys, "argv", ["x", *flags])
    script("spam_assassin").main()
    with (tmp_path / "spam" / "messages.csv").open(newline="", encoding="utf-8") as handle:
        assert [*csv.reader(handle)] == [["text", "label"], ["Café Hello there", "ham"], ["Win Now free !", "spam"]]


@pytest.mark.parametrize(
    ("flag", "value", "why"),
    [
        ("data_seed", 3, "episodes are drawn by --seed"),
        ("threshold_metric", "f1_macro", "only multi-label problems have thresholds"),
    ],
)
def test_a_flag_that_means_nothing_here_is_refused(
    tiny_bert: Path, tmp_path: Path, flag: str, value: object, why: str
) -> None:
    files = {"meta_train_file": "a.csv", "meta_test_file": "b.csv"}
    flags = {"model_name_or_path": tiny_bert, "output_dir": tmp_path / "run", "use_cpu": True, flag: value}
    with pytest.raises(ConfigError, match=rf"^--{flag} means nothing to meta: {why}"):
        run_method(meta, **files, **flags)
