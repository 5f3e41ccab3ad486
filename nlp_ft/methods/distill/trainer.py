"""The losses of distillation a row, and the trainer that adds them up."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from nlp_ft.errors import DataError
from nlp_ft.evaluation.probabilities import MULTI, REGRESSION
from nlp_ft.training.losses import ClassifierLoss
from nlp_ft.training.trainer import ClassifierTrainer

LOGITS, LABELLED = "teacher_logits", "labelled"  # columns of the training split


def soft_losses(student: Tensor, teacher: Tensor, problem_type: str, temperature: float) -> Tensor:
    """KL(teacher || student) of the distributions softened by `temperature`, times its square; shape (rows,), in nats.

    student, teacher: logits (rows, classes). The square keeps the gradient's size as the temperature grows. Multi-label: the
    mean over a row's labels of the divergence between yes and no. Regression: the squared difference of the values, whatever
    the temperature. A teacher with permuted labels raises nothing here and trains the wrong classes.

    Raises: DataError if the shapes differ. Source: Hinton et al. 2015, section 2, arXiv:1503.02531.
    """
    student, teacher = student.float(), teacher.float()
    if student.shape != teacher.shape:
        raise DataError(f"the student's logits are {tuple(student.shape)}, the teacher's {tuple(teacher.shape)}.")
    if problem_type == REGRESSION:
        return (student - teacher).square().mean(dim=-1)
    student, teacher = student / temperature, teacher / temperature
    if problem_type == MULTI:
        yes = teacher.sigmoid() * (functional.logsigmoid(teacher) - functional.logsigmoid(student))
        no = (-teacher).sigmoid() * (functional.logsigmoid(-teacher) - functional.logsigmoid(-student))
        return (yes + no).mean(dim=-1) * temperature**2
    logs = student.log_softmax(dim=-1), teacher.log_softmax(dim=-1)
    return functional.kl_div(*logs, reduction="none", log_target=True).sum(dim=-1) * temperature**2


def hidden_losses(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """Mean squared difference of a layer's outputs (rows, tokens, width) over the tokens that `mask` (rows, tokens) keeps."""
    a_token = (student.float() - teacher.float()).square().mean(dim=-1) * mask
    return a_token.sum(dim=-1) / mask.sum(dim=-1)


def attention_losses(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """Mean squared difference of attention probabilities (rows, heads, tokens, tokens) over heads and unmasked tokens.

    The student's are those after its attention dropout, as its layers use them.
    """
    pairs = mask[:, :, None] * mask[:, None, :]
    a_pair = (student.float() - teacher.float()).square().mean(dim=1) * pairs
    return a_pair.sum(dim=(1, 2)) / pairs.sum(dim=(1, 2))


def evenly_mapped(students: int, teachers: int) -> list[int]:
    """The teacher's layer, from 1, that each of the student's is to match, the lowest first; last to last."""
    return [max(1, place * teachers // students) for place in range(1, students + 1)]


_MATCHES = {"hidden": ("hidden_states", 1, hidden_losses), "attention": ("attentions", 0, attention_losses)}


@dataclass(frozen=True)
class Aims:
    """What a student is to come near: alpha * teacher's answers + (1 - alpha) * labels + match_weight * teacher's layers.

    `hard`: the loss against the labels. `teacher`: a model in evaluation mode, where layers are matched; `match`: which of
    their outputs; `layers`: how many the student and the teacher have.
    """

    hard: ClassifierLoss
    alpha: float
    temperature: float
    match: Sequence[str] = ()
    match_weight: float = 1.0
    teacher: Any = None
    layers: tuple[int, int] = (0, 0)

    @property
    def wanted(self) -> dict[str, bool]:
        """What the forward pass of both is asked for beside the logits."""
        return {f"output_{_MATCHES[kind][0]}": True for kind in self.match}

    def row_losses(
        self, outputs: Mapping[str, Any], labels: Tensor, logits: Tensor, labelled: Tensor | None, shown: Any, mask: Any
    ) -> Tensor:
        """The loss of each row, shape (rows,).

        logits: the teacher's; labelled: 1 where a row has a label, 0 where the one it carries means nothing; None: all have.
        shown: the teacher's outputs for these rows, and mask: their attention mask, where layers are matched.
        """
        hard = self.hard.row_losses(outputs["logits"], labels)
        total = (1 - self.alpha) * (hard if labelled is None else hard * labelled)
        if self.alpha:
            total = total + self.alpha * soft_losses(
                outputs["logits"], logits, self.hard.problem_type, self.temperature
            )
        for kind in self.match:
            name, offset, losses = _MATCHES[kind]
            each = [
                losses(outputs[name][place + offset], shown[name][target - 1 + offset], mask)
                for place, target in enumerate(evenly_mapped(*self.layers))
            ]
            total = total + self.match_weight * torch.stack(each).mean(dim=0)
        return total


class DistillTrainer(ClassifierTrainer):
    """ClassifierTrainer whose training loss comes from `Aims`; in evaluation it is that of the labels."""

    def __init__(self, *args: Any, aims: Aims, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.aims = aims
        if aims.teacher is not None:  # no submodule of anything: never trained, saved or wrapped
            aims.teacher.to(self.args.device).eval().requires_grad_(False)

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Trainer's own, with a loss function that knows what the teacher says of this batch."""
        logits, labelled = inputs.pop(LOGITS, None), inputs.pop(LABELLED, None)
        if logits is None:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        shown = None
        if self.aims.teacher is not None:
            with torch.no_grad():
                rows = {name: tensor for name, tensor in inputs.items() if name != "labels"}
                shown = self.aims.teacher(**rows, **self.aims.wanted)
        hard = self.compute_loss_func
        row_losses = functools.partial(
            self.aims.row_losses, logits=logits, labelled=labelled, shown=shown, mask=inputs.get("attention_mask")
        )
        self.compute_loss_func = functools.partial(_mean_loss, row_losses)
        try:
            asked = {**inputs, **self.aims.wanted}
            return super().compute_loss(model, asked, return_outputs, num_items_in_batch)
        finally:
            self.compute_loss_func = hard


def _mean_loss(row_losses: Any, outputs: Any, labels: Tensor, num_items_in_batch: Tensor | int | None = None) -> Tensor:
    """Sum of the rows' losses over the rows of the whole accumulated, distributed batch, as `ClassifierLoss` has it."""
    losses = row_losses(outputs, labels)
    items = len(losses) if num_items_in_batch is None else num_items_in_batch
    return losses.sum() / (items.to(losses.device) if isinstance(items, Tensor) else items)
