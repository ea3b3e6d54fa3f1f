"""Training on the device: a block of clients side by side, hand-written gradients, touched rows.

The loss of one client (gfmfr, equation of the local objective):
    BCE(y, r) - alpha MSE(A, C) + beta mean|C| + lambda w KL(q || y)
over the rows of the batch, with the shared rows C, the private rows A and the group's
preference q. With `loss = sum` the first and last term are sums over samples, not means.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from privfedmm.backbones import Backbone, Gradients
from privfedmm.base.settings import LocalSettings

EMA_DECAY = 0.9
_FLOOR = 1e-12


@dataclass(frozen=True)
class Rates:
    """Holds the learning rates and the weights of one round."""

    user: float
    items: float
    network: float
    alpha: float
    beta: float


def rates(settings: LocalSettings, round_: int, num_items: int) -> Rates:
    """Return the round's rates: decayed, and with the regularisers that the schedule leaves on."""
    scale = num_items if settings.lr_items_times_items else 1
    on = settings.regularisers == "constant" or round_ == 0
    return Rates(
        user=settings.lr_user * settings.decay_network**round_,
        items=settings.lr_items * scale * settings.decay_items**round_,
        network=settings.lr_network * settings.decay_network**round_,
        alpha=settings.alpha if on else 0.0,
        beta=settings.beta if on else 0.0,
    )


@dataclass(frozen=True)
class Teacher:
    """Holds what a client distils from.

    preference [m, L]: its group's preference q. weight: the weight of the distillation loss.
    ema_ratio: whether the weight is multiplied by the running ratio of the two losses.
    """

    preference: Tensor
    weight: float
    ema_ratio: bool


@dataclass
class Local:
    """Holds the parameters that a block of clients trains; they are updated in place.

    user [m, d]: the user vectors. shared [m, L, width]: the rows of the common table (its group's
    adapter included). private [m, L, width] or None: the devices' own rows. network: name ->
    [m, *shape].
    """

    user: Tensor
    shared: Tensor
    private: Tensor | None
    network: dict[str, Tensor]


@dataclass(frozen=True)
class Trace:
    """Records what training tells about itself.

    loss [m]: the mean BCE of the last epoch. steps [m]: the number of steps taken. balance [m]: the
    balance of the two losses at the end, 0 without distillation. factors: left [m, steps, L] and
    right [m, steps, width], whose product left' right is the change of the shared rows; None where
    that change is no sum of one outer product a step.
    """

    loss: Tensor
    steps: Tensor
    balance: Tensor
    factors: tuple[Tensor, Tensor] | None


def train(
    backbone: Backbone,
    local: Local,
    labels: Tensor,
    mask: Tensor,
    teacher: Teacher | None,
    settings: LocalSettings,
    rate: Rates,
    offset: Tensor | None = None,
) -> Trace:
    """Run the local epochs with labels and mask [m, L]; `local` is changed in place.

    offset [m, L]: what is added to the backbone's logits, and not trained.
    """
    clients, length = labels.shape
    size = settings.batch_size or length
    steps = torch.zeros(clients)
    balance = torch.zeros(clients)
    loss = torch.zeros(clients)
    # Otherwise a step's change is no outer product of these two, and they are not collected.
    factored = size >= length and not (
        rate.alpha or rate.beta or settings.weight_decay_items)
    left: list[Tensor] = []
    right: list[Tensor] = []
    for epoch in range(settings.epochs):
        for start in range(0, length, size):
            part = slice(start, start + size)
            valid = mask[:, part]
            count = valid.sum(1)
            active = (count > 0).float()
            rows = local.shared[:, part]
            if local.private is not None:
                rows = rows + local.private[:, part]
            logits = backbone.logits(local.user, rows, local.network)
            if offset is not None:
                logits = logits + offset[:, part]
            probability = torch.sigmoid(logits)
            mean = valid / count.clamp(min=1)[:, None]
            weight = mean if settings.loss == "mean" else valid
            residual = (probability - labels[:, part]) * weight
            if epoch == settings.epochs - 1:
                loss += (_bce(probability, labels[:, part]) * valid).sum(1)
            if teacher is not None:
                target = teacher.preference[:, part]
                factor: Tensor | float = teacher.weight
                if teacher.ema_ratio:
                    task = (_bce(probability, labels[:, part]) * mean).sum(1)
                    task = task + _regularisers(local, part, mean, rate)
                    ratio = task / (_kl(target, probability) * mean).sum(1).clamp(min=_FLOOR)
                    first = steps == 0
                    fresh = torch.where(
                        first, ratio, EMA_DECAY * balance + (1 - EMA_DECAY) * ratio
                    )
                    balance = torch.where(active > 0, fresh, balance)
                    factor = teacher.weight * balance[:, None]
                residual = residual + factor * (probability - target) * weight
            direction = backbone.direction(local.user) if factored else None
            if direction is not None:
                left.append(residual)
                right.append(direction)
            gradient = backbone.gradients(local.user, rows, local.network, residual)
            _descend(local, gradient, part, valid, count, active, settings, rate)
            steps += active
    total = mask.sum(1).clamp(min=1)
    factors = None
    if right:
        factors = torch.stack(left, 1) * -rate.items, torch.stack(right, 1)
    return Trace(loss / total, steps, balance, factors)


def _descend(
    local: Local,
    gradient: Gradients,
    part: slice,
    valid: Tensor,
    count: Tensor,
    active: Tensor,
    settings: LocalSettings,
    rate: Rates,
) -> None:
    shared, private = local.shared, local.private
    for_shared = gradient.rows
    if private is not None:
        for_private = gradient.rows
        if rate.alpha or rate.beta:
            a, c = private[:, part], shared[:, part]
            per_value = (valid / (count.clamp(min=1)[:, None] * c.shape[2]))[:, :, None]
            apart = 2 * rate.alpha * (a - c) * per_value
            for_private = gradient.rows - apart
            for_shared = gradient.rows + apart + rate.beta * torch.sign(c) * per_value
        _shrink(private, rate.items * settings.weight_decay_items, active)
        private[:, part].sub_(for_private, alpha=rate.items)
    elif rate.beta:
        c = shared[:, part]
        per_value = (valid / (count.clamp(min=1)[:, None] * c.shape[2]))[:, :, None]
        for_shared = gradient.rows + rate.beta * torch.sign(c) * per_value
    _shrink(shared, rate.items * settings.weight_decay_items, active)
    shared[:, part].sub_(for_shared, alpha=rate.items)
    _shrink(local.user, rate.user * settings.weight_decay_user, active)
    local.user.sub_(gradient.user, alpha=rate.user)
    for name, value in local.network.items():
        _shrink(value, rate.network * settings.weight_decay_network, active)
        value.sub_(gradient.network[name], alpha=rate.network)


def _regularisers(local: Local, part: slice, mean: Tensor, rate: Rates) -> Tensor:
    """-alpha MSE(A, C) + beta mean|C| over the batch, [m]."""
    out = torch.zeros(mean.shape[0])
    shared = local.shared[:, part]
    if local.private is not None and rate.alpha:
        apart = (local.private[:, part] - shared).square().mean(2)
        out = out - rate.alpha * (apart * mean).sum(1)
    if rate.beta:
        out = out + rate.beta * (shared.abs().mean(2) * mean).sum(1)
    return out


def _shrink(value: Tensor, by: float, active: Tensor) -> None:
    """Weight decay for the clients that take this step."""
    if by:
        value.mul_((1 - by * active).reshape(-1, *[1] * (value.dim() - 1)))


def decay_factor(settings: LocalSettings, rate: Rates, steps: Tensor) -> Tensor:
    """Return the factor [m] by which weight decay shrank the rows that a client did not touch."""
    return (1 - rate.items * settings.weight_decay_items) ** steps


def _bce(probability: Tensor, label: Tensor) -> Tensor:
    safe = probability.clamp(_FLOOR, 1 - 1e-7)
    return -(label * safe.log() + (1 - label) * (1 - safe).log())


def _kl(target: Tensor, probability: Tensor) -> Tensor:
    """Bernoulli KL(target || probability), elementwise."""
    p, q = probability.clamp(1e-7, 1 - 1e-7), target.clamp(1e-7, 1 - 1e-7)
    return q * (q.log() - p.log()) + (1 - q) * ((1 - q).log() - (1 - p).log())


def as_networks(network: Mapping[str, Tensor], clients: int) -> dict[str, Tensor]:
    """Return one copy of the shared network for each client: name -> [clients, *shape]."""
    return {n: v[None].expand(clients, *v.shape).clone() for n, v in network.items()}
