"""The last stage: the language model alone, on remembered queries.

Reading cells off the queries takes the decoder more texts than the rest of
the model needs; without vision and Q-Former a text costs a fifth.
"""

import torch

from .data import GROUPS, draw_texts


@torch.no_grad()
def remember(training, source, rng, texts, pairs, device, batch=16):
    """`group -> [(queries [Q, D], question, answer), ...]` for many pairs."""
    memory = {group: [] for group in GROUPS}
    for _ in range(0, pairs, batch):
        images, _, _, facts = source.batch(batch)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            _, seen = training.features(images.to(device))
            for group in GROUPS:
                drawn = [t for f in facts for t in draw_texts(f, rng, group)]
                bert_ids, bert_mask, _, _ = (t.to(device) for t in texts.batch(drawn))
                queries = training.model.query(seen, bert_ids, bert_mask).bfloat16()
                memory[group] += [(q, *text) for q, text in zip(queries, drawn)]
    return memory


def draw(memory, rng, texts, count):
    """`(queries, llm ids, targets)` of `count` remembered texts."""
    chosen = rng.sample(memory, k=min(count, len(memory)))
    _, _, llm_ids, targets = texts.batch([(question, answer) for _, question, answer in chosen])
    return torch.stack([q for q, _, _ in chosen]).float(), llm_ids, targets
