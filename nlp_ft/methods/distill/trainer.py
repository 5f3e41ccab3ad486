"""Row losses of distillation, and the trainer that uses them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from nlp_ft.errors import DataError
from nlp_ft.evaluation.probabilities import MULTI, REGRESSION
from nlp_ft.training.losses import ClassifierLoss, mean_loss
from nlp_ft.training.trainer import ClassifierTrainer

LOGITS, LABELLED = "teacher_logits", "labelled"  # columns of the training split
Outputs = Mapping[str, Any]  # of a forward pass: `logits`, and a tensor per layer in `hidden_states` and `attentions`


def soft_losses(student: Tensor, teacher: Tensor, problem_type: str, temperature: float) -> Tensor:
    """KL(teacher || student) at a temperature, times its square, in nats, (rows,).

    student, teacher: logits (rows, classes). The square keeps the size of the gradient as the temperature grows. Multi-label:
    the mean over a row's labels of the binary divergence. Regression: the squared difference of the values, without the
    temperature. A teacher with permuted labels raises no error here and trains the wrong classes.

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
    """Mean squared difference of layer outputs over unmasked tokens; shape (rows,).

    student, teacher: (rows, tokens, width); mask: (rows, tokens), 1 for tokens that count.
    """
    per_token = (student.float() - teacher.float()).square().mean(dim=-1) * mask
    return per_token.sum(dim=-1) / mask.sum(dim=-1)


def attention_losses(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """Mean squared difference of attention probabilities; shape (rows,).

    Over heads and unmasked tokens. student, teacher: (rows, heads, tokens, tokens); mask: (rows, tokens). Those of the student
    are after attention dropout.
    """
    pairs = mask[:, :, None] * mask[:, None, :]
    per_pair = (student.float() - teacher.float()).square().mean(dim=1) * pairs
    return per_pair.sum(dim=(1, 2)) / pairs.sum(dim=(1, 2))


def evenly_mapped(students: int, teachers: int) -> list[int]:
    """Return the teacher's layer, from 1, for each student layer; the last ones match."""
    return [max(1, layer * teachers // students) for layer in range(1, students + 1)]


_MATCHES = {"hidden": ("hidden_states", 1, hidden_losses), "attention": ("attentions", 0, attention_losses)}


@dataclass(frozen=True)
class DistillationLoss:
    """alpha * soft loss + (1 - alpha) * hard loss + match_weight * layer losses.

    `hard`: the loss against the labels. If layers are matched: `teacher`, a model in evaluation mode; `match`, the outputs to
    match; `layers`, the numbers of layers of student and teacher.
    """

    hard: ClassifierLoss
    alpha: float
    temperature: float
    match: Sequence[str] = ()
    match_weight: float = 1.0
    teacher: nn.Module | None = None
    layers: tuple[int, int] = (0, 0)

    @property
    def forward_options(self) -> dict[str, bool]:
        """Options of both forward passes, for the outputs to match."""
        return {f"output_{_MATCHES[kind][0]}": True for kind in self.match}

    def row_losses(
        self,
        outputs: Outputs,
        labels: Tensor,
        logits: Tensor,
        labelled: Tensor | None,
        teacher_outputs: Outputs | None,
        mask: Tensor | None,
    ) -> Tensor:
        """Return the loss of each row, shape (rows,).

        logits: of the teacher, (rows, classes); labelled: (rows,), 1 for rows with a label and 0 for unlabelled rows, whose
        label is a placeholder; None: all are labelled. If layers are matched: teacher_outputs of these rows, and mask, their
        attention mask (rows, tokens).
        """
        hard = self.hard.row_losses(outputs["logits"], labels)
        total = (1 - self.alpha) * (hard if labelled is None else hard * labelled)
        if self.alpha:
            total = total + self.alpha * soft_losses(
                outputs["logits"], logits, self.hard.problem_type, self.temperature
            )
        for kind in self.match:
            assert teacher_outputs is not None
            assert mask is not None
            name, offset, losses = _MATCHES[kind]
            by_layer = [
                losses(outputs[name][index + offset], teacher_outputs[name][target - 1 + offset], mask)
                for index, target in enumerate(evenly_mapped(*self.layers))
            ]
            total = total + self.match_weight * torch.stack(by_layer).mean(dim=0)
        return total


class DistillTrainer(ClassifierTrainer):
    """ClassifierTrainer with a DistillationLoss in training.

    In evaluation the loss is that of the labels.
    """

    def __init__(self, *args: Any, distillation: DistillationLoss, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.distillation = distillation
        if distillation.teacher is not None:  # not a submodule: never trained, saved or wrapped
            distillation.teacher.to(self.args.device).eval().requires_grad_(False)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor | tuple[Tensor, Outputs]:
        """Compute the loss of Trainer, with the teacher's logits of the batch."""
        logits, labelled = inputs.pop(LOGITS, None), inputs.pop(LABELLED, None)
        if logits is None:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        teacher_outputs = None
        if self.distillation.teacher is not None:
            with torch.no_grad():
                rows = {name: tensor for name, tensor in inputs.items() if name != "labels"}
                teacher_outputs = self.distillation.teacher(**rows, **self.distillation.forward_options)

        def loss(outputs: Outputs, labels: Tensor, num_items_in_batch: Tensor | int | None = None) -> Tensor:
            mask = inputs.get("attention_mask")
            rows = self.distillation.row_losses(outputs, labels, logits, labelled, teacher_outputs, mask)
            return mean_loss(rows, num_items_in_batch)

        hard, self.compute_loss_func = self.compute_loss_func, loss
        try:
            options = {**inputs, **self.distillation.forward_options}
            return super().compute_loss(model, options, return_outputs, num_items_in_batch)
        finally:
            self.compute_loss_func = hard
