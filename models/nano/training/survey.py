"""Asks the four fixed questions and keeps the probabilities that the answers were
chosen with."""

import torch

from scenes.facts import CELLS
from scenes.language import CAPTION, CLASSIFY, COUNT, LOCALIZE, UNCHANGED_CAPTIONS

from .finding import NO_COUNT, Said, expected_cells, mass
from .texts import END

MAX_TOKENS = 48


def survey(answerer, pairs):
    """`Said` of every pair `[P, 2T, Dv]`."""
    model, texts = answerer.model, answerer.texts
    yes = answerer.changed(pairs, CLASSIFY).tolist()
    count, count_steps = _decoded(answerer, pairs, COUNT)
    place, place_steps = _decoded(answerer, pairs, LOCALIZE)
    caption, caption_steps = _decoded(answerer, pairs, CAPTION)
    none_first = texts.llm.encode(NO_COUNT)
    sentences = [texts.llm.encode(s) + [END] for s in UNCHANGED_CAPTIONS]
    cells, closing = _cell_pieces(texts), texts.llm.piece_to_id("]")
    out = []
    for i in range(len(pairs)):
        out.append(Said(
            yes=yes[i], none=mass([none_first + [END]], count[i], count_steps[i]),
            cells=expected_cells(cells, closing, place[i], place_steps[i]),
            unchanged=mass(sentences, caption[i], caption_steps[i]),
            count=texts.decode(count[i]), localize=texts.decode(place[i]), caption=texts.decode(caption[i]),
        ))
    return out


@torch.no_grad()
def _decoded(answerer, pairs, question, batch=64):
    """Greedy ids per pair, and the probabilities `[steps, V]` they were chosen from."""
    model, texts = answerer.model, answerer.texts
    prompt, bert = texts.prompt("q: " + question)
    ids, steps = [], []
    for part in pairs.split(batch):
        llm = model.llm_model
        caches = [{} for _ in llm.model.layers]
        rows = torch.tensor([bert] * len(part))
        queries = model.query(part, rows, torch.ones_like(rows))
        words = llm.model.embed_tokens(torch.tensor([prompt] * len(part)))
        step, said, chances, done = torch.cat((model.llm_proj(queries), words), 1), [], [], None
        while len(said) < MAX_TOKENS and (done is None or not done.all()):
            p = llm.lm_head(llm(step, caches)[:, -1]).softmax(-1)
            best = p.argmax(-1)
            said.append(best)
            chances.append(p)
            done = best == END if done is None else done | (best == END)
            step = llm.model.embed_tokens(best)[:, None]
        said, chances = torch.stack(said, 1).tolist(), torch.stack(chances, 1)
        for row, p in zip(said, chances):
            end = row.index(END) + 1 if END in row else len(row)
            ids.append(row[:end])
            steps.append(p[:end])
    return ids, steps


def _cell_pieces(texts):
    """Piece -> cell, for both ways a cell is written."""
    size = texts.llm.get_piece_size()
    names = {texts.llm.id_to_piece(i): i for i in range(size)}
    return {names[mark + c]: k for k, c in enumerate(CELLS) for mark in ("", "\u2581") if mark + c in names}
