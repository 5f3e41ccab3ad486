"""Mixup of sentence embeddings during training.

Source: Zhang et al. 2018, arXiv:1710.09412.

senMixup (Guo et al. 2019, arXiv:1905.08941) mixes the embeddings of two rows
before the last, linear layer. As the shares sum to one, that equals mixing their logits, bias included; mixing logits works
for every architecture, adapter and pooling. (The last layer of a decoder is applied at every position: mixed before it, the
last token of one row would meet the padding of another.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from nlp_ft.errors import ConfigError
from nlp_ft.training.losses import ClassifierLoss, Outputs, logits_of


class MixupLoss(ClassifierLoss):
    """`ClassifierLoss` of mixed rows in training, of unmixed rows in evaluation.

    Row i gets a partner j of its batch, never itself, and a share s_i from Beta(alpha, alpha): its logits become
    s_i z_i + (1 - s_i) z_j and its loss s_i l(., y_i) + (1 - s_i) l(., y_j), which for cross-entropy is that of the mixed
    targets. The batch's loss stays the sum over its rows / num_items_in_batch. Training is told from evaluation by the
    logits: only in training do they carry a gradient. A batch of one row is left as it is. Random numbers come from torch's
    global CPU generator, which checkpoints save.

    Args:
        problem_type: of config.PROBLEM_TYPES; any.
        class_weights: as in `ClassifierLoss`; each of the two losses counts by its own label's weight.
        label_smoothing: likewise.
        alpha: positive; near 0 nearly every share is 0 or 1, 1 is uniform.

    Raises: ConfigError for an alpha that is not positive and finite.
    """

    def __init__(
        self,
        problem_type: str,
        class_weights: Sequence[float] | None = None,
        label_smoothing: float = 0.0,
        *,
        alpha: float = 0.2,
    ) -> None:
        super().__init__(problem_type, class_weights, label_smoothing)
        if not 0 < alpha < math.inf:
            raise ConfigError(f"--mixup_alpha must be positive and finite, got {alpha}.")
        self.alpha = alpha

    def __call__(self, outputs: Outputs, labels: Tensor, num_items_in_batch: Tensor | int | None = None) -> Tensor:
        """Return the loss of a batch, a scalar.

        The sum of the mixed row losses / num_items_in_batch; their mean if that is None.
        """
        logits = logits_of(outputs)
        if not logits.requires_grad or len(labels) < 2:
            return super().__call__(outputs, labels, num_items_in_batch)
        shares, shift = self.draw(len(labels))
        losses = self.mixed_losses(logits, labels, shares.to(logits.device), shift)
        items = len(losses) if num_items_in_batch is None else num_items_in_batch
        return losses.sum() / (items.to(losses.device) if isinstance(items, Tensor) else items)

    def draw(self, rows: int) -> tuple[Tensor, int]:
        """Draw the shares and the offset of the partners.

        Returns: a share per row, (rows,) float32, and an offset from 1 to rows - 1.
        """
        alpha = torch.tensor(self.alpha)
        shares = torch.distributions.Beta(alpha, alpha).sample((rows,))
        return shares, int(torch.randint(1, rows, ()))

    def mixed_losses(self, logits: Tensor, labels: Tensor, shares: Tensor, shift: int) -> Tensor:
        """Return the loss of each mixed row.

        Shape (rows,), in nats (regression: squared units). logits: (rows, classes); labels: as `row_losses` takes them;
        shares: (rows,) in [0, 1]; the partner of row i is row (i + shift) modulo the batch size.
        """
        logits, column = logits.float(), shares.reshape(-1, 1)
        mixed = column * logits + (1 - column) * logits.roll(-shift, 0)
        losses, partner_losses = self.row_losses(mixed, labels), self.row_losses(mixed, labels.roll(-shift, 0))
        return shares * losses + (1 - shares) * partner_losses


def check_batch(rows: int) -> None:
    """Check that a batch has two rows to mix. Raises: ConfigError."""
    if rows < 2:
        raise ConfigError(
            f"--augment mixup mixes rows of one batch; --per_device_train_batch_size is {rows}, set it to 2 or more."
        )
