"""Greedy answers in PyTorch, for quick figures during development."""

from collections import defaultdict

import torch

from .data import normalised
from .texts import END

MAX_TOKENS = 48


@torch.no_grad()
def encoded(model, images, batch=32):
    """Vision features `[N, 2, T, D]` of uint8 pairs `[N, 2, S, S, 3]`."""
    parts = [normalised(images[i:i + batch]) for i in range(0, len(images), batch)]
    return torch.cat([model.encode(p.flatten(0, 1)).unflatten(0, (-1, 2)) for p in parts])


class Answerer:
    def __init__(self, model, texts):
        self.model, self.texts = model.eval(), texts

    @torch.no_grad()
    def pairs(self, images, batch=16):
        """Difference features of normalised pairs `[P, 2, 3, S, S]`."""
        out = []
        for part in images.split(batch):
            encoded = self.model.encode(part.flatten(0, 1)).unflatten(0, (-1, 2))
            out.append(self.model.difference(encoded[:, 0], encoded[:, 1]))
        return torch.cat(out)

    @torch.no_grad()
    def answers(self, pairs, questions, batch=64):
        """One text per `(pair index, raw question)`."""
        groups = defaultdict(list)
        for i, (_, question) in enumerate(questions):
            prompt, bert = self.texts.prompt("q: " + question if not question.startswith("q: ") else question)
            groups[len(prompt), len(bert)].append((i, prompt, bert))
        out = [""] * len(questions)
        for rows in groups.values():
            for start in range(0, len(rows), batch):
                part = rows[start:start + batch]
                chosen = pairs[[questions[i][0] for i, _, _ in part]]
                texts = self._greedy(chosen, [p for _, p, _ in part], [b for _, _, b in part])
                for (i, _, _), text in zip(part, texts):
                    out[i] = text
        return out

    def _queries(self, pairs, bert):
        bert = torch.tensor(bert)
        return self.model.query(pairs, bert, torch.ones_like(bert))

    def _greedy(self, pairs, prompts, bert):
        llm = self.model.llm_model
        caches = [{} for _ in llm.model.layers]
        words = llm.model.embed_tokens(torch.tensor(prompts))
        step = torch.cat((self.model.llm_proj(self._queries(pairs, bert)), words), dim=1)
        said = []
        done = torch.zeros(len(prompts), dtype=torch.bool)
        while len(said) < MAX_TOKENS and not done.all():
            best = llm.lm_head(llm(step, caches)[:, -1]).argmax(-1)
            said.append(best)
            done |= best == END
            step = llm.model.embed_tokens(best)[:, None]
        return [self.texts.decode(row) for row in torch.stack(said, dim=1).tolist()]

    @torch.no_grad()
    def changed(self, pairs, question, batch=64):
        """P(yes) against P(no) for every pair."""
        prompt, bert = self.texts.prompt("q: " + question)
        yes, no = self.texts.answer("yes")[0], self.texts.answer("no")[0]
        out = []
        for part in pairs.split(batch):
            queries = self._queries(part, [bert] * len(part))
            ids = torch.tensor([prompt] * len(part))
            last = torch.zeros(ids.shape, dtype=torch.bool)
            last[:, -1] = True
            logits = self.model.decode(queries, ids, last)
            out.append(logits[:, [yes, no]].softmax(-1)[:, 0])
        return torch.cat(out)
