"""LLaMA: RMSNorm, rotary positions, SwiGLU, with Hugging Face's names."""

import torch
from torch import nn
from torch.nn import functional as F

from .attention import attend

EPS = 1e-5
ROPE_BASE = 10000.0


class RMSNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        wide = x.float()
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + EPS)
        return self.weight * wide.to(x.dtype)


def rotary(length, head, device):
    rates = 1.0 / ROPE_BASE ** (torch.arange(0, head, 2, device=device).float() / head)
    angles = torch.arange(length, device=device).float()[:, None] * rates
    angles = torch.cat((angles, angles), dim=-1)
    return angles.cos(), angles.sin()


def rotate(x, cos, sin):
    half = x.shape[-1] // 2
    turned = torch.cat((-x[..., half:], x[..., :half]), dim=-1)
    return x * cos.to(x.dtype) + turned * sin.to(x.dtype)


class SelfAttention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width, bias=False)
        self.o_proj = nn.Linear(width, width, bias=False)

    def forward(self, x, cos, sin, cache=None):
        """`cache` is a dict that keeps keys and values between calls."""
        batch, length, width = x.shape
        q, k, v = (
            p(x).view(batch, length, self.heads, -1).transpose(1, 2)
            for p in (self.q_proj, self.k_proj, self.v_proj)
        )
        q, k = rotate(q, cos, sin).to(v.dtype), rotate(k, cos, sin).to(v.dtype)
        if cache is not None:
            if "k" in cache:
                k, v = torch.cat((cache["k"], k), dim=2), torch.cat((cache["v"], v), dim=2)
            cache["k"], cache["v"] = k, v
        total = k.shape[2]
        ahead = torch.full((length, total), -1e4, dtype=v.dtype, device=v.device).triu(1 + total - length)
        x = attend(q, k, v, ahead)
        return self.o_proj(x.transpose(1, 2).reshape(batch, length, width))


class Mlp(nn.Module):
    def __init__(self, width, inner):
        super().__init__()
        self.gate_proj = nn.Linear(width, inner, bias=False)
        self.up_proj = nn.Linear(width, inner, bias=False)
        self.down_proj = nn.Linear(inner, width, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.self_attn = SelfAttention(config.llm_width, config.llm_heads)
        self.mlp = Mlp(config.llm_width, config.llm_mlp)
        self.input_layernorm = RMSNorm(config.llm_width)
        self.post_attention_layernorm = RMSNorm(config.llm_width)

    def forward(self, x, cos, sin, cache=None):
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, cache)
        return x + self.mlp(self.post_attention_layernorm(x))


class Model(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.embed_tokens = nn.Embedding(config.llm_vocabulary, config.llm_width)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.llm_depth))
        self.norm = RMSNorm(config.llm_width)


class Llama(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.head = config.llm_width // config.llm_heads
        self.model = Model(config)
        self.lm_head = nn.Linear(config.llm_width, config.llm_vocabulary, bias=False)

    def forward(self, embeddings, caches=None):
        """Hidden states before `lm_head`. Padding sits at the end of a row,
        where nothing earlier can see it. `caches` holds one dict per layer
        and lets a later call go on where an earlier one ended."""
        past = caches[0]["k"].shape[2] if caches and caches[0] else 0
        cos, sin = rotary(past + embeddings.shape[1], self.head, embeddings.device)
        x = embeddings
        for i, layer in enumerate(self.model.layers):
            x = layer(x, cos[past:], sin[past:], caches[i] if caches else None)
        return self.model.norm(x)
