"""The published mask branch in PyTorch, written from its description: the reference of
make_extra.py and compare_mask.py. Layer names are those of the published checkpoints."""

import torch
import torch.nn.functional as F
from torch import nn

WINDOW = 7


def group_norm(channels):
    return nn.GroupNorm(min(8, channels), channels)


class Residual(nn.Module):
    def __init__(self, channels):
        super().__init__()

        def convolution():
            return nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect", bias=False)

        self.block = nn.Sequential(
            group_norm(channels), nn.SiLU(), convolution(), group_norm(channels), nn.SiLU(), convolution()
        )

    def forward(self, x):
        return x + self.block(x)


class Unification(nn.Module):
    """Every channel with every basis kernel, then a softmax over the basis and a mean over channels."""

    def __init__(self, outputs):
        super().__init__()
        self.basis = nn.Parameter(torch.zeros(outputs, 1, 5, 5))

    def forward(self, x):
        batch, channels, height, width = x.shape
        outputs = self.basis.shape[0]
        ones = torch.ones(1, 1, height, width)
        pixels = F.conv2d(ones, torch.ones(1, 1, 5, 5), padding=2)
        padded = F.pad(x, (2, 2, 2, 2), mode="reflect")
        # Grouped, so that the result lies as (channel, basis) ...
        responses = F.conv2d(padded, self.basis.repeat(channels, 1, 1, 1), groups=channels) / pixels
        # ... and is viewed as (basis, channel): what trained weights depend on.
        responses = responses.reshape(batch, outputs, channels, height, width)
        return responses.softmax(1).mean(2)


class WindowAttention(nn.Module):
    def __init__(self, channels, heads=4):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        self.rpb = nn.Parameter(torch.zeros((2 * WINDOW - 1) ** 2, heads))
        at = torch.arange(WINDOW * WINDOW)
        row, column = at // WINDOW, at % WINDOW
        rows = row[:, None] - row[None, :] + WINDOW - 1
        columns = column[:, None] - column[None, :] + WINDOW - 1
        self.register_buffer("rpi", rows * (2 * WINDOW - 1) + columns)

    def forward(self, x):
        """`[1,H,W,C]`."""
        _, height, width, channels = x.shape
        x = F.pad(x, (0, 0, 0, -width % WINDOW, 0, -height % WINDOW))
        tall, wide = x.shape[1] // WINDOW, x.shape[2] // WINDOW
        x = x.reshape(tall, WINDOW, wide, WINDOW, channels).transpose(1, 2)
        x = x.reshape(tall * wide, WINDOW * WINDOW, channels)
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.qkv(x).chunk(3, -1))
        bias = self.rpb[self.rpi].permute(2, 0, 1)
        scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5 + bias
        x = self.proj((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))
        x = x.reshape(tall, wide, WINDOW, WINDOW, channels).transpose(1, 2)
        return x.reshape(1, tall * WINDOW, wide * WINDOW, channels)[:, :height, :width]


class Stage(nn.Module):
    def __init__(self, inputs, outputs, attention):
        super().__init__()
        self.up = nn.Sequential(nn.ConvTranspose2d(inputs, outputs, 4, 2, 1), group_norm(outputs), nn.SiLU())
        self.ref = Residual(outputs)
        self.attn = WindowAttention(outputs) if attention else None
        self.norm = nn.LayerNorm(outputs) if attention else None

    def forward(self, x):
        x = self.ref(self.up(x))
        if self.attn is not None:
            x = x + self.attn(self.norm(x.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
        return x


class MaskBranch(nn.Module):
    """Published: `hidden` 128 with attention, `hidden` 64 without; four stages; `size` 256."""

    def __init__(self, hidden=128, attention=True, stages=4, size=256):
        super().__init__()
        self.size = size
        self.lfu = Unification(hidden)
        self.proj = nn.Sequential(nn.Conv2d(hidden, hidden, 3, padding=1), group_norm(hidden), nn.SiLU(), Residual(hidden))
        widths = [hidden] + [max(hidden >> (i + 1), 32) for i in range(stages)]
        self.stages = nn.ModuleList(
            Stage(widths[i], widths[i + 1], attention and i + 1 < stages) for i in range(stages)
        )
        last = widths[-1]
        self.head = nn.Sequential(nn.Conv2d(last, last, 3, padding=1), group_norm(last), nn.SiLU(), nn.Conv2d(last, 1, 1))

    def forward(self, before, after):
        """Features `[1,T,D]` of both dates, class token first."""
        x = (after - before)[:, 1:]
        side = round(x.shape[1] ** 0.5)
        x = self.proj(self.lfu(x.transpose(1, 2).unflatten(2, (side, side))))
        for stage in self.stages:
            x = stage(x)
        x = self.head(x)
        if x.shape[-1] != self.size:
            x = F.interpolate(x, self.size, mode="bilinear", align_corners=False)
        return torch.sigmoid(x)[0, 0]


def randomise(branch):
    """Weights that give every layer a say, in values that f16 holds."""
    for name, parameter in branch.named_parameters():
        normal = torch.randn(parameter.shape)
        if parameter.dim() == 1:
            # Norms around 1, biases around 0.
            parameter.data = 0.2 * normal + (1.0 if name.endswith("weight") else 0.0)
        elif name.endswith("rpb"):
            parameter.data = 0.5 * normal
        elif name.endswith("basis"):
            parameter.data = 3.0 * normal
        else:
            parameter.data = normal * 1.5 / parameter[0].numel() ** 0.5
        parameter.data = parameter.data.half().float()
    return branch.eval()
