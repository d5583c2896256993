"""Golden vectors of the mask branch and of resized position embeddings, by PyTorch.

Writes `mask.pth`, a checkpoint that holds `mask_decoder.*` only, and `extra.json`.
Run it after make_golden.py, whose model and vectors it reads."""

import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

HERE = Path(__file__).parent
SIZE = 24


def vector(name):
    """A vector that make_golden.py wrote."""
    entry = json.loads((HERE / "golden.json").read_text())["vectors"][name]
    raw = (HERE / "vectors.bin").read_bytes()[entry["offset"] :]
    count = int(np.prod(entry["shape"]))
    return torch.from_numpy(np.frombuffer(raw, "<f4", count).reshape(entry["shape"]).copy())


def mask_branch(width):
    """Every kind of layer that is understood."""
    model = nn.Sequential(
        nn.Conv2d(width, 12, 3, padding=1, bias=False),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.ConvTranspose2d(12, 8, 2, stride=2),
        nn.ReLU(),
        nn.ConvTranspose2d(8, 6, 4, stride=2, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Conv2d(6, 2, 1),
    )
    for module in model:
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.2)
            nn.init.normal_(module.bias, 0.0, 0.2)
            nn.init.normal_(module.running_mean, 0.0, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return model.eval()


@torch.no_grad()
def main():
    torch.manual_seed(5)
    difference = vector("difference")
    width, tokens = difference.shape[2], difference.shape[1] // 2
    side = round((tokens - 1) ** 0.5)
    model = mask_branch(width)
    state = {f"mask_decoder.{key}": value for key, value in model.state_dict().items()}
    torch.save({"model": state}, HERE / "mask.pth")
    before, after = difference[:, 1:tokens], difference[:, tokens + 1 :]
    grid = (after - before).transpose(1, 2).reshape(1, width, side, side)
    logits = F.interpolate(model(grid), SIZE, mode="bilinear", align_corners=False)
    change = logits.softmax(1)[0, 1]

    stored = torch.load(HERE / "model/eva_vit_g.pth", weights_only=True)["pos_embed"].float()
    old = round((stored.shape[1] - 1) ** 0.5)
    cells = stored[:, 1:].reshape(1, old, old, -1).permute(0, 3, 1, 2)
    positions = {}
    for new in (old + 3, old - 1):
        resized = F.interpolate(cells, (new, new), mode="bicubic", align_corners=False)
        rows = torch.cat([stored[:, :1], resized.permute(0, 2, 3, 1).flatten(1, 2)], 1)
        # Three channels of each token: enough to see a wrong tap or weight.
        positions[str(new)] = [round(x, 7) for x in rows[0, :, :3].flatten().tolist()]
    extra = {
        "mask": {"size": SIZE, "change": [round(x, 8) for x in change.flatten().tolist()]},
        "positions": positions,
    }
    (HERE / "extra.json").write_text(json.dumps(extra) + "\n")


if __name__ == "__main__":
    main()
