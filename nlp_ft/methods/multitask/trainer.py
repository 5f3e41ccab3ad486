"""One body under several heads: the model, its loss, and the trainer of both."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Sampler
from transformers import EvalPrediction, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from nlp_ft.methods.multitask.sampler import TaskSampler
from nlp_ft.training.losses import ClassifierLoss, Outputs, logits_of, mean_loss
from nlp_ft.training.trainer import ClassifierTrainer

_VARIANCE_RATE = 1e-2  # the learning rate of log variances: at the encoder's they would stay where they start

Array = TypeVar("Array", Tensor, np.ndarray)


class MultiTask(nn.Module):
    """Classifiers that share one body; each row goes to the classifier of its task.

    Body and heads are registered once; the classifiers themselves are not, so no weight counts or is saved twice.

    Args:
        classifiers: of each task, in the order of the tasks; their bodies are replaced by the first one's, in place.
        uncertainty: whether each task gets a learned log variance (`UncertaintyLoss` reads them).
    """

    accepts_loss_kwargs = False  # Trainer: forward takes no num_items_in_batch

    def __init__(self, classifiers: Sequence[PreTrainedModel], *, uncertainty: bool = False) -> None:
        super().__init__()
        prefix = classifiers[0].base_model_prefix
        self.body: PreTrainedModel = getattr(classifiers[0], prefix)
        for classifier in classifiers[1:]:
            setattr(classifier, prefix, self.body)
        self.heads = nn.ModuleList(
            nn.ModuleDict({name: child for name, child in classifier.named_children() if name != prefix})
            for classifier in classifiers
        )
        self.classifiers = tuple(classifiers)  # a tuple is not registered
        self.width = max(classifier.config.num_labels or 1 for classifier in classifiers)
        self.log_variances = nn.Parameter(torch.zeros(len(classifiers))) if uncertainty else None

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        task: Tensor,
        token_type_ids: Tensor | None = None,
        labels: None = None,
    ) -> SequenceClassifierOutput:
        """Compute logits (rows, most outputs of a task), padded with zeros.

        task: (rows,), the numbers of the rows' tasks. While training, parameters that no row of the batch needs take part
        with a zero, so that each process has a gradient of each. labels: never passed; Trainer learns from the name that
        there are some.
        """
        logits = torch.zeros(len(task), self.width, device=task.device)
        for number, classifier in enumerate(self.classifiers):
            rows = (task == number).nonzero().flatten()
            if len(rows):
                task_logits = classifier(**_cut(rows, input_ids, attention_mask, token_type_ids)).logits.float()
                logits = logits.index_add(0, rows, functional.pad(task_logits, (0, self.width - task_logits.shape[1])))
        if self.training:
            present = set(task.tolist())
            absent = [head for number, head in enumerate(self.heads) if number not in present]
            idle = [p for head in absent for p in head.parameters() if p.requires_grad]
            idle += [] if self.log_variances is None else [self.log_variances]
            logits = logits + sum((p.float().sum() * 0 for p in idle), torch.zeros((), device=logits.device))
        return SequenceClassifierOutput(logits=logits)  # type: ignore[arg-type]

    def activation_checkpointing_enable(self, **kwargs: Any) -> None:
        """Turn on --activation_checkpointing for the body."""
        self.classifiers[0].activation_checkpointing_enable(**kwargs)


def _cut(rows: Tensor, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None) -> dict[str, Tensor]:
    """Select rows of a batch, and drop the columns that are padding in all of them.

    Padding may be on either side.
    """
    used = attention_mask[rows].any(dim=0).nonzero().flatten()
    part = slice(int(used[0]), int(used[-1]) + 1) if len(used) else slice(None)
    inputs = {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": token_type_ids}
    return {name: tensor[rows][:, part] for name, tensor in inputs.items() if tensor is not None}


class TaskKind(NamedTuple):
    """Shape of a task's labels: its problem type, and the outputs of its head."""

    problem_type: str
    outputs: int

    def slice(self, logits: Array, labels: Array) -> tuple[Array, Array]:
        """Cut logits and labels of this task's rows to its shape and type."""
        if self.problem_type == "single_label_classification":
            ids = labels[:, 1]
            return logits[:, : self.outputs], ids.long() if isinstance(ids, Tensor) else ids.astype(np.int64)
        cells = labels[:, 1 : self.outputs + 1]
        return logits[:, : self.outputs], cells[:, 0] if self.problem_type == "regression" else cells


class MultiTaskLoss(ClassifierLoss):
    """Weighted sum of the row losses of several tasks.

    Each is divided by the rows of the whole accumulated, distributed batch. Labels are (rows, 1 + width): the number of the
    row's task, then its label as that task has it, filled up with zeros.

    Args:
        losses, kinds: of each task.
        scales: what the row losses of each task are divided by. Squared errors: the variance of the training targets, so that
            a task whose numbers are large does not drown the others and starts near 1, as cross-entropy does.
        weights: of each task's rows.
    """

    def __init__(
        self,
        losses: Sequence[ClassifierLoss],
        kinds: Sequence[TaskKind],
        scales: Sequence[float],
        weights: Sequence[float],
    ) -> None:
        super().__init__("several tasks")
        self.losses, self.kinds = list(losses), list(kinds)
        self.factors = [weight / scale for weight, scale in zip(weights, scales, strict=True)]

    def row_losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compute the weighted loss of each row, (rows,)."""
        tasks = labels[:, 0].long()
        row_losses = torch.zeros(len(labels), device=logits.device)
        for number, (loss, kind, factor) in enumerate(zip(self.losses, self.kinds, self.factors, strict=True)):
            rows = (tasks == number).nonzero().flatten()
            if len(rows):
                values = loss.row_losses(*kind.slice(logits[rows], labels[rows])) * factor
                row_losses = row_losses.index_add(0, rows, values)
        return row_losses


class UncertaintyLoss(MultiTaskLoss):
    """MultiTaskLoss with learned weights: exp(-s) * loss + s / 2 a row.

    s is the task's log variance; squared errors count half. This is the negative log-likelihood of a row (Kendall, Gal &
    Cipolla 2018, arXiv:1705.07115, section 3.2). Over s it is least at log(2 * loss), for squared errors at log(loss): what
    is learned well weighs more. Evaluation measures the losses as they are, so that checkpoints can be compared.
    """

    def __init__(
        self,
        losses: Sequence[ClassifierLoss],
        kinds: Sequence[TaskKind],
        scales: Sequence[float],
        log_variances: nn.Parameter,
    ) -> None:
        super().__init__(losses, kinds, scales, [0.5 if kind.problem_type == "regression" else 1.0 for kind in kinds])
        self.log_variances = log_variances

    def __call__(self, outputs: Outputs, labels: Tensor, num_items_in_batch: Tensor | int | None = None) -> Tensor:
        """Compute the sum over the rows / num_items_in_batch, or the mean if None."""
        spread = self.log_variances[labels[:, 0].long()]
        rows = torch.exp(-spread) * self.row_losses(logits_of(outputs), labels) + spread / 2
        return mean_loss(rows, num_items_in_batch)


class Collator:
    """Collator of rows of several tasks.

    `pad` pads the tokens; labels are padded to a common width, and `task` is the number of each row's task.
    """

    def __init__(self, pad: Callable[[list[dict[str, object]]], Mapping[str, Tensor]], width: int) -> None:
        self.pad, self.width = pad, width

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Tensor]:
        """Collate rows whose `labels` are the task's number, then the label's cells."""
        cells = [row["labels"] + [0.0] * (1 + self.width - len(row["labels"])) for row in rows]
        batch = dict(self.pad([{name: value for name, value in row.items() if name != "labels"} for row in rows]))
        labels = torch.tensor(cells, dtype=torch.float32)
        return {**batch, "labels": labels, "task": labels[:, 0].long()}


class MultiTaskTrainer(ClassifierTrainer):
    """ClassifierTrainer that samples tasks, and trains log variances at their rate."""

    task_sampler: TaskSampler

    def __init__(
        self, *, scores: Callable[[EvalPrediction], dict[str, float]], sampler: TaskSampler, width: int, **kwargs: Any
    ) -> None:
        kwargs |= {"compute_metrics": scores, "data_collator": Collator(kwargs["data_collator"], width)}
        super().__init__(clock=sampler.clock, **kwargs)
        self.task_sampler = sampler

    def _get_train_sampler(self, train_dataset: object = None) -> Sampler[int]:
        return self.task_sampler

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Add the log variances as a parameter group, at a higher rate.

        They have no weight decay, which would pull all weights towards 1.
        """
        optimizer = super().create_optimizer(model)
        variances = getattr(self.model, "log_variances", None)
        if variances is not None:
            for group in optimizer.param_groups:
                group["params"] = [p for p in group["params"] if p is not variances]
            changes = {"params": [variances], "lr": _VARIANCE_RATE, "weight_decay": 0.0}
            optimizer.add_param_group({**optimizer.param_groups[0], **changes})
        return optimizer
