"""Tunes a model on annotated pairs: the language model stays as it is, the last vision
blocks, the difference module, the Q-Former and the projection learn, as published.

    python finetune.py --weights ../nano/weights --set OUT [--set ...] --write TUNED [--minutes 60]

`--set` is what annotate.py, generate.py or build_real.py --set wrote. Mix some
generated pairs in: a model tuned on one area alone forgets the others.
"""

import argparse
import json
import pathlib
import random
import shutil
import sys
import time

import numpy as np
import torch
from PIL import Image

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "nano"))

from build_data import shrink  # noqa: E402
from deltavlm import layout  # noqa: E402
from scenes.language import dialogue_text  # noqa: E402
from train import optimiser  # noqa: E402
from training.data import normalised  # noqa: E402
from training.losses import answer_loss  # noqa: E402
from training.texts import Texts  # noqa: E402

#: Vision blocks that learn, from the end.
BLOCKS = 2
#: Texts about a pair in one step.
TEXTS = 4
LEARNS = ("ln_vision.", "query_tokens", "Qformer.", "llm_proj.", "context", "gate")


def freeze(model):
    """Returns the parameters that learn."""
    depth = model.config.vision_depth
    learns = LEARNS + tuple(f"visual_encoder.blocks.{depth - 1 - i}." for i in range(BLOCKS))
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith(learns))
    return [p for p in model.parameters() if p.requires_grad]


class Annotated:
    """Pairs with their questions and answers, in memory."""

    def __init__(self, folders, side):
        self.pictures, self.texts = [], []
        for folder in folders:
            self._read(folder, side)

    def _read(self, folder, side):
        places = {}
        for path in sorted((folder / "annotations").glob("changechat_*.json")):
            for entry in json.loads(path.read_text()):
                key = tuple(entry["image"])
                if key not in places:
                    places[key] = len(self.pictures)
                    shown = [np.asarray(Image.open(folder / "images" / p).convert("RGB")) for p in key]
                    self.pictures.append(np.stack([shrink(x, side) for x in shown]))
                    self.texts.append([])
                values = [turn["value"] for turn in entry["conversations"]]
                turns = list(zip(values[::2], values[1::2]))
                for answer in entry.get("captions", [turns[-1][1]]):
                    self.texts[places[key]].append((dialogue_text(turns[:-1], turns[-1][0]), answer))

    def batch(self, size, rng):
        """`(images [size, 2, 3, S, S], texts of each pair in turn)`."""
        indices = rng.choices(range(len(self.pictures)), k=size)
        images, texts = [], []
        for i in indices:
            picture = self.pictures[i]
            gain = np.exp([rng.gauss(0, 0.1) for _ in range(2)])[:, None, None, None]
            images.append(np.clip(picture * gain, 0, 255).astype(np.uint8))
            texts += rng.choices(self.texts[i], k=TEXTS)
        return normalised(np.stack(images)), texts


def tune(model, data, texts, minutes, size=8, rate=1e-4, steps=None, seed=0, report=print):
    """Trains in place; returns the losses."""
    rng = random.Random(seed)
    optim = optimiser(freeze(model), rate)
    began, losses = time.monotonic(), []
    while True:
        done = len(losses) / steps if steps else (time.monotonic() - began) / (60 * minutes)
        if done >= 1:
            return losses
        for group in optim.param_groups:
            group["lr"] = rate * min(1.0, 20 * (done + 0.002)) * (1 - 0.9 * done)
        images, asked = data.batch(size, rng)
        bert_ids, bert_mask, llm_ids, targets = texts.batch(asked)
        encoded = model.encode(images.flatten(0, 1)).unflatten(0, images.shape[:2])
        queries = model.query(model.difference(encoded[:, 0], encoded[:, 1]), bert_ids, bert_mask)
        loss = answer_loss(model.decode(queries, llm_ids, targets != -100), targets)
        optim.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optim.step()
        losses.append(float(loss.detach()))
        if len(losses) % 50 == 0:
            report(f"{len(losses)} steps, {100 * done:.0f} %, loss {np.mean(losses[-50:]):.3f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--weights", type=pathlib.Path, required=True)
    parser.add_argument("--set", type=pathlib.Path, action="append", required=True)
    parser.add_argument("--write", type=pathlib.Path, required=True)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--steps", type=int, help="instead of by the clock")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    model = layout.load(args.weights)
    data = Annotated(args.set, model.config.image_size)
    losses = tune(model, data, Texts(args.weights), args.minutes, steps=args.steps, seed=args.seed)
    shutil.copytree(args.weights, args.write, dirs_exist_ok=True)
    kept = json.loads((args.weights / "deltavlm.json").read_text())
    layout.save(model, args.write, {"epoch": 0, "iters": len(losses)})
    (args.write / "deltavlm.json").write_text(json.dumps(kept, indent=2) + "\n")
    print(f"{len(losses)} steps; weights: {args.write}")


if __name__ == "__main__":
    main()
