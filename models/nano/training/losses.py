"""Training-only heads and losses. Nothing here is shipped."""

import torch
from torch import nn
from torch.nn import functional as F


class DenseHeads(nn.Module):
    """Maps read off the vision features and the difference features: where
    there are buildings and roads at each date, where they changed, how many
    objects changed (a density that sums to the count), and where a token is."""

    def __init__(self, config):
        super().__init__()
        width = config.vision_width
        self.grid = config.grid
        self.objects = nn.Linear(width, 2 * 4)
        self.change = nn.Linear(2 * width, 2 * 4)
        self.density = nn.Linear(2 * width, 2)
        self.position = nn.Linear(width, 2)
        nn.init.constant_(self.density.bias, -4.0)

    def forward(self, features, pairs):
        """`features` `[P, 2, T, Dv]`, `pairs` `[P, 2T, Dv]`."""
        tokens = features.shape[2]
        both = torch.cat((pairs[:, 1:tokens], pairs[:, tokens + 1:]), dim=-1)
        return (
            self._fine(self.objects(features[:, :, 1:])),
            self._fine(self.change(both)),
            F.softplus(self.density(both).float()).unflatten(1, (self.grid, self.grid)).permute(0, 3, 1, 2),
            self.position(pairs[:, tokens + 1:]),
        )

    def _fine(self, x):
        """`[..., G*G, 8]` to `[..., 2, 2G, 2G]`."""
        x = x.unflatten(-2, (self.grid, self.grid)).unflatten(-1, (2, 2, 2))
        order = list(range(x.ndim - 5)) + [x.ndim - i for i in (3, 5, 2, 4, 1)]
        return x.permute(order).flatten(-2).flatten(-3, -2)

    def loss(self, outputs, maps, density, known):
        """`known` `[P, 6]`: which of the maps are known; the others teach nothing."""
        objects, change, amount, position = outputs
        known = known.float()
        where = maps[:, :4].unflatten(1, (2, 2)).transpose(1, 2)  # date, class
        changed = maps[:, 4:]
        seen, told = known[:, :4].unflatten(1, (2, 2)).transpose(1, 2)[..., None, None], known[:, 4:, None, None]
        objects = _where(objects, where, seen, 2.0)
        change = _where(change, changed, told, 3.0)
        counts = ((amount.sum((2, 3)) + 0.1).log() - (density.sum((2, 3)) + 0.1).log()) * known[:, 4:]
        amount = (F.poisson_nll_loss(amount + 1e-4, density, log_input=False, reduction="none") * told).mean()
        line = torch.linspace(-1, 1, self.grid)
        place = torch.stack(torch.meshgrid(line, line, indexing="ij"), -1).reshape(1, -1, 2)
        position = F.mse_loss(position.float(), place.expand(position.shape[0], -1, -1))
        return {
            "objects": 2.0 * objects, "change": 3.0 * change, "density": 8.0 * amount,
            "total": 0.3 * F.smooth_l1_loss(counts, torch.zeros_like(counts)), "position": 0.2 * position,
        }


def _where(logits, target, weight, positive):
    """Cross entropy of maps; `weight` is one number per map."""
    weight = weight.expand_as(target)
    loss = F.binary_cross_entropy_with_logits(
        logits.float(), target, weight=weight, pos_weight=torch.tensor(positive), reduction="sum")
    return loss / weight.sum().clamp(min=1.0)


class QueryHeads(nn.Module):
    """Ties query k < 9 to grid cell k and the other queries to the totals."""

    def __init__(self, config):
        super().__init__()
        width = config.qformer_width
        self.cell = nn.Linear(width, 4)      # roads, buildings changed; their amounts
        self.total = nn.Linear(width, 3)     # log amounts of roads, buildings; changed
        grid, tokens = config.grid, config.tokens
        rows = torch.arange(grid) * 3 // grid
        cell = (rows[:, None] * 3 + rows[None, :]).reshape(-1)
        inside = torch.zeros(9, 2 * tokens)
        for date in range(2):
            inside[cell, date * tokens + 1 + torch.arange(grid * grid)] = 1.0
        self.register_buffer("inside", inside)

    def loss(self, queries, facts, density, repeat):
        """`queries` `[P * K, Q, D]`; facts and density are per pair."""
        cells = self.cell(queries[:, :9]).float()
        flags = torch.tensor([[f.road_cells, f.building_cells] for f in facts]).float().transpose(1, 2)
        share = density.flip(1).unflatten(2, (3, -1)).unflatten(4, (3, -1)).sum((3, 5))
        flags = flags.repeat_interleave(repeat, 0)
        amounts = share.flatten(2).transpose(1, 2).repeat_interleave(repeat, 0)
        total = self.total(queries[:, 9:].mean(1)).float()
        counts = amounts.sum(1)
        changed = (counts.sum(1) > 0.5).float()
        # What happened to the roads of a pair that shows another place is not known.
        known = torch.tensor([[f.category != "exchanged", True] for f in facts], dtype=torch.float32)
        known = known.repeat_interleave(repeat, 0).to(cells.device)
        each = known[:, None].expand(-1, 9, -1)
        return {
            "cells": F.binary_cross_entropy_with_logits(cells[..., :2], flags.to(cells.device), weight=each),
            "amounts": 0.3 * (F.smooth_l1_loss(cells[..., 2:], (amounts + 0.05).log() + 3.0, reduction="none") * each).mean(),
            "counts": 0.5 * (F.smooth_l1_loss(total[:, :2], (counts + 0.3).log(), reduction="none") * known).mean(),
            "changed": 0.3 * F.binary_cross_entropy_with_logits(total[:, 2], changed),
        }

    def attention_loss(self, weights):
        """Query k < 9 should look into cell k. `weights` `[N, Q, 2T]`."""
        mass = (weights[:, :9] * self.inside).sum(-1)
        return 0.1 * -(mass + 1e-3).log().mean()


def answer_loss(logits, targets):
    """Cross entropy of the wanted `logits` `[M, V]` (where `targets` is not
    -100); an answer weighs by the square root of its length."""
    wanted = targets != -100
    lengths = wanted.sum(1, keepdim=True).expand_as(targets)[wanted]
    loss = F.cross_entropy(logits.float(), targets[wanted], reduction="none")
    return (loss / lengths.sqrt()).sum() / targets.shape[0]
