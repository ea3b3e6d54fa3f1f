"""The contract of backbones: gradients, scores, and clients that do not touch one another."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from privfedmm.backbones import Backbone, BackboneEntry


class BackboneContract:
    """Checks what every backbone must do.

    Subclass it with a name that begins with Test, and set `entry`.
    """

    entry: BackboneEntry

    @property
    def backbone(self) -> Backbone:
        """Return the backbone in latent size 6."""
        return self.entry.build(6)

    def problem(self) -> tuple[Tensor, Tensor, dict[str, Tensor], Tensor]:
        """Return users [3, d], rows [3, 5, width], networks [3, ...] and residuals [3, 5]."""
        g, b = torch.Generator().manual_seed(0), self.backbone
        user = torch.empty(3, b.dim).normal_(generator=g)
        rows = torch.empty(3, 5, b.width).normal_(generator=g)
        network = {
            name: value + 0.1 * torch.empty(3, *value.shape).normal_(generator=g)
            for name, value in b.initial_network(1).items()
        }
        return user, rows, network, torch.empty(3, 5).normal_(generator=g)

    def test_gradients_are_those_of_autograd(self) -> None:
        """Check the gradients of the sum of residual x logit against those of torch."""
        user, rows, network, residual = self.problem()
        ours = self.backbone.gradients(user, rows, network, residual)
        leaves = [user, rows, *network.values()]
        for leaf in leaves:
            leaf.requires_grad_()
        value = (self.backbone.logits(user, rows, network) * residual).sum()
        expected = torch.autograd.grad(value, leaves)
        mine = [ours.user, ours.rows, *(ours.network[name] for name in network)]
        for one, other in zip(mine, expected, strict=True):
            torch.testing.assert_close(one.detach(), other, rtol=1e-4, atol=1e-5)

    def test_scores_are_logits_of_the_whole_table(self) -> None:
        """Check that one table for all users gives what its rows give."""
        user, rows, network, _ = self.problem()
        every = self.backbone.logits(user, rows[0][None].expand(3, -1, -1), network)
        torch.testing.assert_close(self.backbone.scores(user, rows[0], network), every)

    def test_a_client_alone_is_a_client_in_a_block(self) -> None:
        """Check that logits and gradients of a client depend on that client alone."""
        user, rows, network, residual = self.problem()
        block = self.backbone.gradients(user, rows, network, residual)
        logits = self.backbone.logits(user, rows, network)
        for i in range(3):
            part = slice(i, i + 1)
            own = {name: value[part] for name, value in network.items()}
            alone = self.backbone.gradients(user[part], rows[part], own, residual[part])
            torch.testing.assert_close(
                self.backbone.logits(user[part], rows[part], own), logits[part])
            torch.testing.assert_close(alone.user, block.user[part])
            torch.testing.assert_close(alone.rows, block.rows[part])
            for name, value in alone.network.items():
                torch.testing.assert_close(value, block.network[name][part])

    def test_the_entry_is_true(self) -> None:
        """Check that the entry has the backbone's name, and says truly whether it has a network.

        Its head must be in the network.
        """
        network = self.backbone.initial_network(1)
        assert self.entry.name == self.backbone.name and self.entry.summary.strip()
        assert bool(network) == self.entry.network
        assert set(self.entry.head or ()) <= set(network)

    def test_the_start_is_reproducible(self) -> None:
        """Check that the shared network follows from the seed."""
        one, two = self.backbone.initial_network(4), self.backbone.initial_network(4)
        assert one.keys() == two.keys() and all(torch.equal(one[n], two[n]) for n in one)

    def test_the_torch_twin_is_the_same_model(self) -> None:
        """Check that the torch module, where there is one, gives the logits of a client."""
        if self.entry.twin is None:
            pytest.skip("the entry names no torch twin")
        user, rows, network, _ = self.problem()
        for client in range(len(user)):
            own = {name: value[client] for name, value in network.items()}
            twin = self.entry.twin(rows[client], user[client], own)
            expected = self.backbone.logits(
                user[client:client + 1], rows[client:client + 1],
                {name: value[None] for name, value in own.items()})[0]
            found = twin(torch.arange(rows.shape[1])).detach()
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
