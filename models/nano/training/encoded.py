"""Pairs encoded by a frozen vision part, each used several times."""

import torch


class EncodedPairs:
    """Keeps the difference features of `pool` augmented pairs. Every batch
    replaces the oldest `fresh` of them, so no pair stays for long."""

    def __init__(self, training, source, pool, fresh, device):
        self.training, self.source, self.device = training, source, device
        self.pool, self.fresh = pool, fresh
        self.kept, self.next = [], 0
        while len(self.kept) < pool:
            self.kept += self._encode(min(16, pool - len(self.kept)))

    @torch.no_grad()
    def _encode(self, count):
        images, _, density, facts, _ = self.source.batch(count)
        _, pairs = self.training.features(images.to(self.device))
        return list(zip(pairs.half(), density.to(self.device), facts))

    def batch(self, size, rng):
        """`(pairs [size, 2T, Dv], density, facts)`."""
        for entry in self._encode(self.fresh):
            self.kept[self.next] = entry
            self.next = (self.next + 1) % self.pool
        pairs, density, facts = zip(*rng.sample(self.kept, size))
        return torch.stack(pairs).float(), torch.stack(density), list(facts)
