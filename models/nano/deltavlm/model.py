"""DeltaVLM: two pictures and an instruction in, an answer out."""

import torch
from torch import nn

from .decoder import Llama
from .qformer import QFormer
from .vision import VisionTransformer


class DeltaVLM(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        width = config.vision_width
        self.visual_encoder = VisionTransformer(config)
        self.ln_vision = nn.LayerNorm(width, eps=1e-5)
        self.context1 = nn.Linear(width, width, bias=False)
        self.context2 = nn.Linear(width, width)
        self.gate1 = nn.Linear(width, width, bias=False)
        self.gate2 = nn.Linear(width, width)
        self.context3 = nn.Linear(3 * width, width)
        self.query_tokens = nn.Parameter(torch.zeros(1, config.queries, config.qformer_width))
        self.Qformer = QFormer(config)
        self.llm_proj = nn.Linear(config.qformer_width, config.llm_width)
        self.llm_model = Llama(config)
        self.apply(_initialise)
        nn.init.normal_(self.query_tokens, std=0.5)
        nn.init.normal_(self.visual_encoder.cls_token, std=0.02)

    def encode(self, images):
        """Normalised pictures `[N, 3, S, S]` to features `[N, T, Dv]`."""
        return self.ln_vision(self.visual_encoder(images))

    def difference(self, a, b):
        """The difference module: `[P, T, Dv]` twice to `[P, 2T, Dv]`."""
        d = b - a
        context, gate = self.context1(d), self.gate1(d)
        out = []
        for x in (a, b):
            selected = torch.sigmoid(gate + self.gate2(x)) * torch.tanh(context + self.context2(x))
            out.append(self.context3(torch.cat((x, d, selected), dim=-1)))
        return torch.cat(out, dim=1)

    def query(self, pairs, bert_ids, bert_mask):
        """Q-Former output `[P * K, Q, D]` for K instructions per pair."""
        return self.Qformer.bert(self.query_tokens, bert_ids, bert_mask, pairs)

    def decode(self, queries, ids, wanted=None):
        """Logits that follow each of the token `ids` `[N, L]`; only those of
        the positions in the boolean mask `wanted`, when it is given."""
        words = self.llm_model.model.embed_tokens(ids)
        projected = self.llm_proj(queries)
        hidden = self.llm_model(torch.cat((projected, words.to(projected.dtype)), dim=1))
        hidden = hidden[:, queries.shape[1]:]
        return self.llm_model.lm_head(hidden if wanted is None else hidden[wanted])


def _initialise(module):
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=module.in_features**-0.5 * 0.8)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=0.5)
