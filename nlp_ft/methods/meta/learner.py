"""Maths of meta-learning: adaptation to an episode, and each algorithm's loss.

Adapting changes copies of the weights. An episode is a small task: `support` rows to adapt to, `query` rows to be judged by.
All of it happens inside `forward`, so that Trainer, accumulation and several processes need to know nothing of it.

Choices that hold for every algorithm: the head of an episode starts at zero, so the number of classes may differ from one
episode to the next and no order of them is favoured (ANIL, too, learns no head; a head made of prototypes, as in ProtoMAML, is
not used). Dropout is off throughout: an inner step on a few rows must depend on nothing but them. The word embeddings take
part in the outer step alone: a few rows could move only the words they hold, at half the cost of the whole encoder. Under
Reptile, whose outer step follows the inner steps, they stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from nlp_ft.models.layers import keep_in_eval_mode

Tokens = Mapping[str, Tensor]
# support, query: Tokens; support_labels, query_labels: (rows,); pool: int; classes: (ways,)
Episode = Mapping[str, Any]


class Adapted(NamedTuple):
    """State after some inner steps.

    fast: the weights that moved, by name. weight, bias: the head. loss: before the last step.
    """

    fast: dict[str, Tensor]
    weight: Tensor
    bias: Tensor
    loss: Tensor


class MetaLearner(nn.Module):
    """An encoder whose loss is taken after adapting it to an episode.

    encoder: a module that takes tokens and gives `.logits` of shape (rows, features). algorithm: maml, fomaml, anil, reptile
    or proto. steps: inner steps; encoder_rate, head_rate: their learning rates (plain gradient descent).
    """

    accepts_loss_kwargs = False  # Trainer must divide the mean over episodes by the accumulation steps

    def __init__(self, encoder: nn.Module, algorithm: str, steps: int, encoder_rate: float, head_rate: float) -> None:
        super().__init__()
        self.encoder, self.algorithm, self.steps = encoder, algorithm, steps
        self.encoder_rate, self.head_rate = encoder_rate, head_rate
        keep_in_eval_mode(encoder)

    def features(self, tokens: Tokens, fast: Mapping[str, Tensor] | None = None) -> Tensor:
        """Inputs of the last layer, (rows, features); `fast` replaces weights by name."""
        return functional_call(self.encoder, dict(fast or {}), (), dict(tokens)).logits

    def inner_weights(self) -> dict[str, Tensor]:
        """Weights that an inner step moves besides the head.

        All that train but the word embeddings; none for ANIL.
        """
        if self.algorithm == "anil":
            return {}
        return {name: p for name, p in self.encoder.named_parameters() if p.requires_grad and not _is_lookup(p, self)}

    def path(self, batches: Sequence[tuple[Tokens, Tensor]], ways: int, *, second_order: bool) -> Iterator[Adapted]:
        """Take inner steps from a zero head without end, and yield the state after each.

        The batches are used in turn, over and over. The first step moves the head alone: through a head of zeros nothing
        reaches the encoder. So the features are still those of its start in the second step, and are not computed again.

        second_order: the steps themselves can be differentiated (MAML, Finn et al. 2017, arXiv:1703.03400); otherwise their
        gradients count as constants (first-order MAML, section 5.2 there). Needs eager attention: torch has no second
        derivative of the fused one.
        """
        fast = self.inner_weights()
        features = self.features(batches[0][0], fast)
        weight = features.new_zeros(ways, features.shape[-1]).requires_grad_()
        bias = features.new_zeros(ways).requires_grad_()
        number = 0
        while True:
            tokens, labels = batches[number % len(batches)]
            if number and (len(batches) > 1 or (fast and number > 1)):
                features = self.features(tokens, fast)
            loss = functional.cross_entropy(functional.linear(features, weight, bias), labels)
            moved = fast if number else {}
            *gradients, by_weight, by_bias = torch.autograd.grad(
                loss,
                [*moved.values(), weight, bias],
                create_graph=second_order,
                retain_graph=second_order or not moved,  # the next step may go back through the same features
                allow_unused=True,
            )
            weight, bias = weight - self.head_rate * by_weight, bias - self.head_rate * by_bias
            fast = fast | {
                name: value - self.encoder_rate * gradient
                for (name, value), gradient in zip(moved.items(), gradients, strict=True)
                if gradient is not None
            }
            number += 1
            yield Adapted(fast, weight, bias, loss)

    def adapt(self, batches: Sequence[tuple[Tokens, Tensor]], ways: int, *, second_order: bool = False) -> Adapted:
        """The state after `steps` inner steps."""
        for number, adapted in enumerate(self.path(batches, ways, second_order=second_order), start=1):
            if number == self.steps:
                return adapted
        raise AssertionError("the path has no end")

    def forward(self, episodes: Sequence[Episode]) -> dict[str, Tensor]:
        """The algorithm's mean loss over the episodes, a scalar under `loss`."""
        losses = {"proto": self._prototype_loss, "reptile": self._reptile_loss}
        loss = losses.get(self.algorithm, self._query_loss)
        return {"loss": torch.stack([loss(episode) for episode in episodes]).mean()}

    def _query_loss(self, episode: Episode) -> Tensor:
        """Cross-entropy of the query rows after the inner steps, in nats.

        The inner steps are on the support rows. MAML and ANIL differentiate through the steps; ANIL's (Raghu et al. 2020,
        arXiv:1909.09157) move the head alone.
        """
        support = [(episode["support"], episode["support_labels"])]
        adapted = self.adapt(support, len(episode["classes"]), second_order=self.algorithm in ("maml", "anil"))
        features = self.features(episode["query"], adapted.fast)
        return functional.cross_entropy(
            functional.linear(features, adapted.weight, adapted.bias), episode["query_labels"]
        )

    def _prototype_loss(self, episode: Episode) -> Tensor:
        """Cross-entropy of the query rows by distance to the support means, in nats."""
        means = prototypes(self.features(episode["support"]), episode["support_labels"], len(episode["classes"]))
        logits = prototype_logits(self.features(episode["query"]), means)
        return functional.cross_entropy(logits, episode["query_labels"])

    def _reptile_loss(self, episode: Episode) -> Tensor:
        """The loss of the last inner step, with the gradient start - adapted.

        Reptile (Nichol et al. 2018, arXiv:1803.02999). There is no query to be judged by: the steps take support and query rows
        in turn, since on a single batch they would learn only to fit that (section 6.2 there). The word embeddings, which the
        steps leave out, have no gradient.
        """
        batches = [(episode[part], episode[f"{part}_labels"]) for part in ("support", "query")]
        adapted = self.adapt(batches, len(episode["classes"]))
        start = self.inner_weights()
        toward = torch.stack([(p * (p - adapted.fast[name]).detach()).sum() for name, p in start.items()]).sum()
        return toward - toward.detach() + adapted.loss.detach()

    @torch.enable_grad()
    def accuracies(self, episode: Episode, marks: Sequence[int]) -> dict[str, float]:
        """Accuracies on the query rows after inner steps, and by the nearest support mean.

        marks: numbers of steps, ascending. After 0 the head is all zeros, every answer the same, and the accuracy 1 / ways.

        Returns: {"adapted_0": ..., "adapted_3": ..., "centroids": ...}.
        """
        ways, labels = len(episode["classes"]), episode["query_labels"]
        accuracies = {f"adapted_{mark}": 1 / ways for mark in marks if mark == 0}
        with torch.no_grad():
            query = self.features(episode["query"])
            means = prototypes(self.features(episode["support"]), episode["support_labels"], ways)
            accuracies["centroids"] = _accuracy(prototype_logits(query, means), labels)
        path = self.path([(episode["support"], episode["support_labels"])], ways, second_order=False)
        for number, adapted in zip(range(1, max(marks) + 1), path, strict=False):
            if number in marks:
                with torch.no_grad():
                    features = self.features(episode["query"], adapted.fast)
                    accuracies[f"adapted_{number}"] = _accuracy(
                        functional.linear(features, adapted.weight, adapted.bias), labels
                    )
        return accuracies


class MultiTask(nn.Module):
    """Multi-task training on the rows of the same episodes, as a control.

    A linear head for each data set, over all its classes. It sees the same rows, and never adapts.

    classes: their number in each data set.
    """

    accepts_loss_kwargs = False

    def __init__(self, encoder: nn.Module, width: int, classes: Sequence[int]) -> None:
        super().__init__()
        self.encoder = encoder
        keep_in_eval_mode(encoder)  # as in meta-learning
        self.heads = nn.ModuleList(nn.Linear(width, count) for count in classes)
        for parameter in self.heads.parameters():
            nn.init.zeros_(parameter)

    def forward(self, episodes: Sequence[Episode]) -> dict[str, Tensor]:
        """The mean cross-entropy over support and query rows, in nats."""
        losses = []
        for episode in episodes:
            head = self.heads[episode["pool"]]
            for part in ("support", "query"):
                labels = episode["classes"][episode[f"{part}_labels"]]
                losses.append(functional.cross_entropy(head(self.encoder(**episode[part]).logits), labels))
        return {"loss": torch.stack(losses).mean()}


def prototypes(features: Tensor, labels: Tensor, ways: int) -> Tensor:
    """The mean of the features of each class, (ways, features); every class has a row."""
    return torch.stack([features[labels == way].mean(dim=0) for way in range(ways)])


def prototype_logits(features: Tensor, means: Tensor) -> Tensor:
    """Minus the squared Euclidean distances, (rows, ways).

    Source: Snell et al. 2017, arXiv:1703.05175, section 2.3.
    """
    return -(features[:, None] - means[None]).square().sum(dim=-1)


def _accuracy(logits: Tensor, labels: Tensor) -> float:
    return (logits.argmax(dim=-1) == labels).float().mean().item()


def _is_lookup(parameter: Tensor, learner: MetaLearner) -> bool:
    """Whether a parameter is the matrix of the word embeddings."""
    get_embeddings = getattr(learner.encoder, "get_input_embeddings", None)
    return get_embeddings is not None and parameter is get_embeddings().weight
