"""Golden vectors of the mask branch and of resized position embeddings, by PyTorch.

    pip install torch numpy
    python make_extra.py

Writes `mask.pth` and `mask_light.pth`, checkpoints that hold `mask_decoder.*` only, and
`extra.json`. Run it after make_golden.py, whose model and vectors it reads."""

import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from mask_branch import MaskBranch, randomise

HERE = Path(__file__).parent
# Smaller than the published ones; `hidden` 16 at 64 channels views four groups of channels
# crosswise, as 128 at 1408 views eleven. Sides 8 and 16 need padded windows, 32 is resized.
VARIANTS = {
    "mask": dict(hidden=16, attention=True, stages=3, size=24),
    "mask_light": dict(hidden=48, attention=False, stages=2, size=24),
}


def vector(name):
    """A vector that make_golden.py wrote."""
    entry = json.loads((HERE / "golden.json").read_text())["vectors"][name]
    raw = (HERE / "vectors.bin").read_bytes()[entry["offset"] :]
    count = int(np.prod(entry["shape"]))
    return torch.from_numpy(np.frombuffer(raw, "<f4", count).reshape(entry["shape"]).copy())


@torch.no_grad()
def main():
    torch.manual_seed(5)
    extra = {}
    for name, variant in VARIANTS.items():
        branch = randomise(MaskBranch(**variant))
        state = {
            f"mask_decoder.{key}": value.half() if value.is_floating_point() else value
            for key, value in branch.state_dict().items()
        }
        torch.save({"model": state}, HERE / f"{name}.pth")
        change = branch(vector("features.before"), vector("features.after"))
        extra[name] = {"size": variant["size"], "change": [round(x, 8) for x in change.flatten().tolist()]}

    stored = torch.load(HERE / "model/eva_vit_g.pth", weights_only=True)["pos_embed"].float()
    old = round((stored.shape[1] - 1) ** 0.5)
    cells = stored[:, 1:].reshape(1, old, old, -1).permute(0, 3, 1, 2)
    extra["positions"] = {}
    for new in (old + 3, old - 1):
        resized = F.interpolate(cells, (new, new), mode="bicubic", align_corners=False)
        rows = torch.cat([stored[:, :1], resized.permute(0, 2, 3, 1).flatten(1, 2)], 1)
        # Three channels of each token: enough to see a wrong tap or weight.
        extra["positions"][str(new)] = [round(x, 7) for x in rows[0, :, :3].flatten().tolist()]
    (HERE / "extra.json").write_text(json.dumps(extra) + "\n")


if __name__ == "__main__":
    main()
