"""EVA-ViT: class token, absolute positions, pre-norm blocks, no final norm."""

import math

import torch
from torch import nn
from torch.nn import functional as F

from .attention import attend


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(width))
        self.v_bias = nn.Parameter(torch.zeros(width))
        self.proj = nn.Linear(width, width)

    def forward(self, x):
        batch, tokens, width = x.shape
        bias = torch.cat((self.q_bias, torch.zeros_like(self.v_bias), self.v_bias))
        qkv = F.linear(x, self.qkv.weight, bias)
        q, k, v = qkv.view(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        x = attend(q, k, v)
        return self.proj(x.transpose(1, 2).reshape(batch, tokens, width))


class Mlp(nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    def __init__(self, width, heads, hidden):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Mlp(width, hidden)

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class PatchEmbed(nn.Module):
    def __init__(self, width, patch):
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch, patch)

    def forward(self, x):
        # The convolution as one matrix product: the same sums, faster on a CPU.
        size = self.proj.kernel_size[0]
        batch, _, height, width = x.shape
        x = x.view(batch, 3, height // size, size, width // size, size)
        x = x.permute(0, 2, 4, 1, 3, 5).reshape(batch, -1, 3 * size * size)
        return F.linear(x, self.proj.weight.flatten(1), self.proj.bias)


def sine_positions(grid, width, amplitude=0.5):
    """2-D sine-cosine table `[1, grid^2 + 1, width]`. Random positions of the
    usual size drown in the patch content and places cannot be learned."""
    quarter = width // 4
    rates = torch.exp(-math.log(100.0) * torch.arange(quarter) / quarter)
    angles = torch.arange(grid)[:, None] * rates[None, :]
    line = torch.cat((angles.sin(), angles.cos()), dim=1)
    rows = line[:, None, :].expand(grid, grid, -1)
    columns = line[None, :, :].expand(grid, grid, -1)
    table = torch.cat((rows, columns), dim=2).reshape(1, grid * grid, -1)
    return amplitude * torch.cat((torch.zeros(1, 1, width), table), dim=1)


class VisionTransformer(nn.Module):
    def __init__(self, config):
        super().__init__()
        width = config.vision_width
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(sine_positions(config.grid, width))
        self.patch_embed = PatchEmbed(width, config.patch_size)
        self.blocks = nn.ModuleList(
            Block(width, config.vision_heads, config.vision_mlp) for _ in range(config.vision_depth)
        )

    def forward(self, images):
        x = self.patch_embed(images)
        x = torch.cat((self.cls_token.expand(x.shape[0], -1, -1).to(x.dtype), x), dim=1)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return x
