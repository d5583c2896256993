"""Q-Former: BERT, post-norm, over `[queries ; instruction]`.

Queries look at the pair in every second layer. Many instructions about one
pair are computed together: their queries share one set of keys and values.
"""

import torch
from torch import nn
from torch.nn import functional as F

from .attention import attend

EPS = 1e-12


class SelfAttention(nn.Module):
    def __init__(self, width, heads, source_width):
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(source_width, width)
        self.value = nn.Linear(source_width, width)

    def split(self, x):
        return x.view(x.shape[0], x.shape[1], self.heads, -1).transpose(1, 2)

    def forward(self, x, source, mask=None):
        q, k, v = self.split(self.query(x)), self.split(self.key(source)), self.split(self.value(source))
        x = attend(q, k, v, mask)
        return x.transpose(1, 2).reshape(x.shape[0], x.shape[2], -1)

    def weights(self, x, source):
        """Attention weights averaged over heads, for training losses."""
        q, k = self.split(self.query(x)).float(), self.split(self.key(source)).float()
        scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
        return scores.softmax(-1).mean(1)


class Output(nn.Module):
    """Projection, residual, norm."""

    def __init__(self, inner, width):
        super().__init__()
        self.dense = nn.Linear(inner, width)
        self.LayerNorm = nn.LayerNorm(width, eps=EPS)

    def forward(self, x, residual):
        return self.LayerNorm(self.dense(x) + residual)


class BertAttention(nn.Module):
    def __init__(self, width, heads, source_width):
        super().__init__()
        self.self = SelfAttention(width, heads, source_width)
        self.output = Output(width, width)

    def forward(self, x, source, mask=None):
        return self.output(self.self(x, source, mask), x)


class Intermediate(nn.Module):
    def __init__(self, width, inner):
        super().__init__()
        self.dense = nn.Linear(width, inner)

    def forward(self, x):
        return F.gelu(self.dense(x))


class Layer(nn.Module):
    def __init__(self, config, cross):
        super().__init__()
        width, inner = config.qformer_width, config.qformer_mlp
        self.attention = BertAttention(width, config.qformer_heads, width)
        if cross:
            self.crossattention = BertAttention(width, config.qformer_heads, config.vision_width)
        self.cross = cross
        self.intermediate = Intermediate(width, inner)
        self.output = Output(inner, width)
        self.intermediate_query = Intermediate(width, inner)
        self.output_query = Output(inner, width)

    def forward(self, x, mask, pairs, queries):
        x = self.attention(x, x, mask)
        query, text = x[:, :queries], x[:, queries:]
        if self.cross:
            shape = query.shape
            shared = query.reshape(pairs.shape[0], -1, shape[-1])
            query = self.crossattention(shared, pairs).reshape(shape)
        query = self.output_query(self.intermediate_query(query), query)
        text = self.output(self.intermediate(text), text)
        return torch.cat((query, text), dim=1)


class Embeddings(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.word_embeddings = nn.Embedding(config.bert_vocabulary, config.qformer_width)
        self.position_embeddings = nn.Embedding(config.bert_positions, config.qformer_width)
        self.LayerNorm = nn.LayerNorm(config.qformer_width, eps=EPS)

    def forward(self, queries, ids):
        positions = torch.arange(ids.shape[1], device=ids.device)
        text = self.word_embeddings(ids) + self.position_embeddings(positions)
        return self.LayerNorm(torch.cat((queries.expand(ids.shape[0], -1, -1), text), dim=1))


class Encoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.layer = nn.ModuleList(Layer(config, cross=i % 2 == 0) for i in range(config.qformer_depth))


class Bert(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.embeddings = Embeddings(config)
        self.encoder = Encoder(config)

    def forward(self, query_tokens, ids, mask, pairs):
        """`ids`, `mask`: `[P * K, L]` for K instructions about each of the P
        rows of `pairs` `[P, 2T, Dv]`. Returns `[P * K, Q, D]`."""
        queries = query_tokens.shape[1]
        x = self.embeddings(query_tokens, ids)
        full = torch.cat((mask.new_ones(mask.shape[0], queries), mask), dim=1)
        full = ((1 - full) * -1e4).to(x.dtype)[:, None, None, :]
        for layer in self.encoder.layer:
            x = layer(x, full, pairs, queries)
        return x[:, :queries]


class QFormer(nn.Module):
    """Holds `bert`, so that parameters carry their published names."""

    def __init__(self, config):
        super().__init__()
        self.bert = Bert(config)
