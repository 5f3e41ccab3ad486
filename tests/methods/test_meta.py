"""Meta-learning: the gradients by hand, tasks that are really held out, and whole runs on a tiny checkpoint."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from torch import Tensor, nn
from torch.nn import functional

from nlp_ft.errors import ConfigError, DataError
from nlp_ft.flags import parse
from nlp_ft.methods import meta
from nlp_ft.methods._meta import MetaLearner, MultiTask, prototype_logits
from nlp_ft.methods._meta_episodes import META_TEST, META_TRAIN, Pool, draw
from nlp_ft.methods._meta_report import Arm, interval, sentence, verdict
from nlp_ft.report import RunReport
from tests.conftest import BAD, FILLERS, GOOD, ROOT, THINGS, RunCli, write_csv

RATES = {"encoder_rate": 0.3, "head_rate": 0.7}


class TwoLayers(nn.Module):
    """4 numbers a row -> 5 -> 3 features, in float64."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Any:
        return SimpleNamespace(logits=self.second(torch.tanh(self.first(x))))


def learner(algorithm: str, steps: int = 3, seed: int = 0) -> MetaLearner:
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
    model, episodes = learner(algorithm), [episode(1, ways), episode(2, ways)]
    exact = finite_differences(model, episodes)
    assert exact.abs().max() > 1e-2
    assert torch.allclose(gradient(model, episodes), exact, atol=1e-8)


def test_the_first_order_gradient_is_another_one() -> None:
    episodes = [episode(1), episode(2)]
    exact = finite_differences(learner("fomaml"), episodes)
    first_order = gradient(learner("fomaml"), episodes)
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
    model, one = learner("fomaml", steps), episode(3)
    copy, weight, bias = adapted_by_hand(model, [(one["support"]["x"], one["support_labels"])], steps)
    loss = functional.cross_entropy(
        functional.linear(copy(one["query"]["x"]).logits, weight, bias), one["query_labels"]
    )
    by_hand = torch.cat([g.flatten() for g in torch.autograd.grad(loss, [*copy.parameters()])])
    assert torch.allclose(gradient(model, [one]), by_hand, atol=1e-12)
    assert model([one])["loss"].item() == pytest.approx(loss.item())


def test_fomaml_is_maml_without_a_graph_of_its_steps() -> None:
    one, second = episode(3), learner("maml")
    support = [(one["support"], one["support_labels"])]
    for order in (False, True):
        adapted = second.adapt(support, 2, second_order=order)
        loss = functional.cross_entropy(
            functional.linear(second.features(one["query"], adapted.fast), adapted.weight, adapted.bias),
            one["query_labels"],
        )
        grads = torch.cat([g.flatten() for g in torch.autograd.grad(loss, [*second.parameters()])])
        assert torch.allclose(grads, gradient(learner("maml" if order else "fomaml"), [one]), atol=1e-12)


def test_reptile_goes_towards_the_mean_of_the_adapted_weights() -> None:
    model, episodes = learner("reptile", 4), [episode(3), episode(4)]
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
    model, one = learner("proto"), episode(5)
    with torch.no_grad():
        support, query = (model.encoder(one[part]["x"]).logits.numpy() for part in ("support", "query"))
    means = np.stack([support[:3].mean(axis=0), support[3:].mean(axis=0)])
    scores = -((query[:, None] - means[None]) ** 2).sum(axis=-1)
    right = scores[np.arange(6), one["query_labels"].numpy()]
    assert model([one])["loss"].item() == pytest.approx((np.log(np.exp(scores).sum(axis=1)) - right).mean())


def test_anil_moves_no_weight_of_the_encoder_in_its_steps() -> None:
    one = episode(3)
    support = [(one["support"], one["support_labels"])]
    assert not learner("anil").adapt(support, 2).fast
    moved = learner("fomaml").adapt(support, 2).fast
    start = dict(learner("fomaml").encoder.named_parameters())
    assert all((moved[name] - start[name]).abs().max() > 1e-4 for name in start)


def test_frozen_weights_take_no_inner_step() -> None:
    model = learner("fomaml")
    model.encoder.get_submodule("first").requires_grad_(False)
    assert set(model.inner_weights()) == {"second.weight", "second.bias"}


def test_the_encoder_stays_without_dropout_in_training() -> None:
    model = MetaLearner(nn.Sequential(nn.Dropout(0.5)), "maml", 1, 0.1, 0.1).train()
    assert model.training
    assert not model.encoder.training


def test_accuracies_are_chance_at_zero_steps_and_those_of_sgd_after_some() -> None:
    model, one = learner("maml", 2), episode(6, rows=8)
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
    first, second = control.heads
    assert first.weight.grad is None
    assert second.bias.grad.tolist() == pytest.approx([0.2, 0.2, -0.3, 0.2, -0.3])


# ---- episodes


def pool(name: str, sizes: Sequence[int]) -> Pool:
    ends = np.cumsum(sizes)
    places = [np.arange(end - size, end) for size, end in zip(sizes, ends, strict=True)]
    rows = Dataset.from_dict({"text": [f"{name} {i}" for i in range(ends[-1])]})
    keys = [f"{name} {i}".encode() for i in range(ends[-1])]
    return Pool(name, [f"c{i}" for i in range(len(sizes))], places, rows, keys, lambda row: f"{name}:{row}")


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
            assert {*drawn.support[i], *drawn.query[i]} <= {*pools[drawn.pool].places[label]}
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
