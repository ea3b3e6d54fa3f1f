"""Federated collaborative filtering: a plain dot product (Ammad-ud-din et al. 2019, eq. 1)."""

import torch
from torch import Tensor

from privfedmm.backbones import BackboneEntry, Gradients, Network, PlainBackbone


class Fcf(PlainBackbone):
    """Item table [items, d]: the item factors, without biases."""

    name = "fcf"

    def logits(self, user: Tensor, rows: Tensor, network: Network) -> Tensor:
        return torch.bmm(user[:, None, :], rows.transpose(1, 2))[:, 0]

    def gradients(
        self, user: Tensor, rows: Tensor, network: Network, residual: Tensor
    ) -> Gradients:
        by_user = torch.bmm(residual[:, None, :], rows)[:, 0]
        return Gradients(by_user, residual[:, :, None] * user[:, None, :], {})

    def direction(self, user: Tensor) -> Tensor:
        return user


class FcfTwin(torch.nn.Module):
    """The same client as a torch module."""

    def __init__(self, items: Tensor, user: Tensor, network: Network) -> None:
        super().__init__()
        self.items = torch.nn.Embedding.from_pretrained(items.clone(), freeze=False)
        self.user = torch.nn.Parameter(user.clone())

    def forward(self, item: Tensor) -> Tensor:
        return self.items(item) @ self.user


FCF = BackboneEntry(
    name="fcf", summary="dot product of user and item factors", build=Fcf, twin=FcfTwin,
    reference="Ammad-ud-din et al. 2019, equation 1", public_subspace=True)
