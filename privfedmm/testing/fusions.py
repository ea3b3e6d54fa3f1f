"""The contract of a fusion module: subclass it in your tests and set `entry`."""

from __future__ import annotations

import torch
from torch import Tensor

from privfedmm.fusions import FusionEntry

NAMES, GROUPS, ITEMS, DIM = ["id", "txt", "vis"], 2, 7, 8


class FusionContract:
    """Checks what every fusion module must do.

    Subclass it with a name that begins with Test, and set `entry`.
    """

    entry: FusionEntry

    def inputs(self) -> dict[str, Tensor]:
        """Return the inputs, name -> [2 groups, 7 items, 8]."""
        g = torch.Generator().manual_seed(3)
        return {n: torch.empty(GROUPS, ITEMS, DIM).normal_(generator=g) for n in NAMES}

    def test_it_gives_one_finite_row_a_group_and_item(self) -> None:
        """Check that the output has the shape of its inputs, and is finite."""
        assert self.entry.summary.strip()
        out = self.entry.build(NAMES, DIM)(self.inputs())
        assert out.shape == (GROUPS, ITEMS, DIM) and bool(torch.isfinite(out).all())

    def test_it_takes_any_number_of_inputs(self) -> None:
        """Check that the module works with one input fewer: a data set may have text alone."""
        module = self.entry.build(["id", "txt"], DIM)
        two = {n: x for n, x in self.inputs().items() if n != "vis"}
        out = module(two)
        assert out.shape == (GROUPS, ITEMS, DIM)

    def test_gradients_reach_every_parameter(self) -> None:
        """Check that every parameter has a finite gradient: what does not learn is of no use in it.
        """
        module = self.entry.build(NAMES, DIM)
        inputs = {name: value.requires_grad_() for name, value in self.inputs().items()}
        module(inputs).square().sum().backward()
        for name, parameter in module.named_parameters():
            assert parameter.grad is not None and bool(torch.isfinite(parameter.grad).all()), name
