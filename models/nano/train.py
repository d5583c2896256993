"""Trains the nano model in three stages.

    python train.py --data DATA --run RUN [--stages vision,joint,language]

vision    the encoder and the difference module, against maps of what is where
          and what changed
joint     everything together
language  the Q-Former and the language model, the vision part frozen: an encoded
          pair serves several times, each time with other texts
heads     the training-only heads alone: what a start from a weights directory
          (`--warm-start weights`), which has none, needs first

Each stage resumes from `RUN/<stage>.pt`, written every few minutes, and starts
from the end of the stage before it. `--minutes` runs a stage by the clock:
the learning rate then follows the time, whatever a step takes. On CPUs `--processes N` one-threaded
processes average their gradients; on a GPU one process is used.
"""

import argparse
import contextlib
import math
import os
import pathlib
import time

import torch
import torch.distributed as dist
from torch import nn
from tqdm import tqdm

from deltavlm import Config, DeltaVLM, layout
from training.data import GROUPS, Augmented, Pairs, draw_texts, seeded
from training.losses import DenseHeads, QueryHeads, answer_loss
from training.encoded import EncodedPairs
from training.texts import Texts

HERE = pathlib.Path(__file__).parent
#: stage -> steps, pairs per step (all processes), peak rate, share of pairs in
#: reverse order of time; language: encoded pairs that each process keeps, and
#: how many of them it replaces at each step
RECIPE = {
    "vision": {"steps": 4000, "pairs": 32, "rate": 1.5e-3, "reverse": 0.5},
    "joint": {"steps": 2000, "pairs": 32, "rate": 1e-3, "reverse": 0.3},
    "language": {"steps": 4000, "pairs": 32, "rate": 1e-3, "reverse": 0.3, "fresh": 4, "pool": 1500},
    "heads": {"steps": 80, "pairs": 32, "rate": 5e-3, "reverse": 0.3},
}
#: Of every batch, when there are pairs from real pictures: two thirds of these
#: have changed (build_real.py), so 40 % are generated, 40 % pseudo changes, 20 %
#: real ground on which nothing was built.
REAL_SHARE = 0.6
STAGES = ("vision", "joint", "language")
WARM_UP = 0.05
SAVE_SECONDS = 180
SHOWN = ("objects", "change", "density", "answer", "cells", "counts")


class Training(nn.Module):
    """The model with its training-only heads, and the loss of each stage."""

    def __init__(self, config):
        super().__init__()
        self.model = DeltaVLM(config)
        self.dense = DenseHeads(config)
        self.queries = QueryHeads(config)

    def features(self, images):
        encoded = self.model.encode(images.flatten(0, 1)).unflatten(0, images.shape[:2])
        return encoded, self.model.difference(encoded[:, 0], encoded[:, 1])

    def dense_losses(self, images, maps, density, known):
        encoded, pairs = self.features(images)
        return self.dense.loss(self.dense(encoded, pairs), maps, density, known), pairs

    def text_losses(self, pairs, facts, density, texts, tokens):
        bert_ids, bert_mask, llm_ids, targets = (t.to(pairs.device) for t in tokens)
        attention = []
        with self._watched(attention):
            queries = self.model.query(pairs, bert_ids, bert_mask)
        losses = {"answer": answer_loss(self.model.decode(queries, llm_ids, targets != -100), targets)}
        losses |= self.queries.loss(queries, facts, density, texts)
        losses["attention"] = sum(self.queries.attention_loss(a) for a in attention) / len(attention)
        return losses

    @contextlib.contextmanager
    def _watched(self, attention):
        """Collects the cross-attention weights of the first text of each pair."""
        handles = []
        slots = self.model.config.queries
        for layer in self.model.Qformer.bert.encoder.layer:
            if layer.cross:
                handles.append(layer.crossattention.self.register_forward_pre_hook(
                    lambda module, inputs: attention.append(module.weights(inputs[0][:, :slots], inputs[1]))
                ))
        yield
        for handle in handles:
            handle.remove()


def learning_rate(progress, recipe):
    """A linear rise over the first part of a stage, then half a cosine."""
    if progress < WARM_UP:
        return recipe["rate"] * (progress / WARM_UP + 0.01)
    progress = (progress - WARM_UP) / (1 - WARM_UP)
    return recipe["rate"] * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


class Progress:
    """How much of a stage is done: by its steps, or by the clock."""

    def __init__(self, start, steps, minutes):
        self.step, self.steps, self.seconds = start, steps, minutes and 60 * minutes
        self.began = time.monotonic()

    def done(self):
        if self.seconds:
            return (time.monotonic() - self.began) / self.seconds
        return self.step / self.steps


def optimiser(parameters, rate):
    parameters = list(parameters)
    decayed = [p for p in parameters if p.ndim == 2]
    rest = [p for p in parameters if p.ndim != 2]
    return torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.05}, {"params": rest, "weight_decay": 0.0}],
        lr=rate, betas=(0.9, 0.98),
    )


def average_gradients(parameters, processes, done):
    """Averages the gradients, and with them how much is `done`: all processes
    must follow one clock."""
    if processes == 1:
        return done
    grads = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([g.flatten() for g in grads] + [torch.tensor([done])])
    dist.all_reduce(flat)
    flat /= processes
    for grad, part in zip(grads, flat[:-1].split([g.numel() for g in grads])):
        grad.copy_(part.view_as(grad))
    return float(flat[-1])


def run_stage(stage, training, data, texts, args, rank, device):
    recipe = {**RECIPE[stage], **({"rate": args.rate} if args.rate else {})}
    steps = args.steps or recipe["steps"]
    share = recipe["pairs"] // args.processes
    frozen = stage == "language"
    vision = [training.model.visual_encoder, training.model.ln_vision, training.dense] + [
        getattr(training.model, n) for n in ("context1", "context2", "context3", "gate1", "gate2")
    ]
    for parameter in training.parameters():
        parameter.requires_grad_(True)
    if frozen:
        for module in vision:
            module.requires_grad_(False)
    if stage == "heads":
        training.model.requires_grad_(False)
    if stage == "vision":
        parameters = [p for m in vision for p in m.parameters()]
    else:
        parameters = [p for p in training.parameters() if p.requires_grad]
    optim = optimiser(parameters, recipe["rate"])
    path = args.run / f"{stage}.pt"
    start = restore(path, training, optim) if path.exists() else 0
    if start >= steps:
        return
    rng = seeded(f"{args.seed}/{stage}/{start}", rank)
    source = Augmented(data, rng, recipe["reverse"])
    if stage == "language":
        encoded = EncodedPairs(training, source, recipe["pool"], recipe["fresh"], device)
    averages, saved = {}, time.monotonic()
    progress = Progress(start, steps, args.minutes)
    bar = tqdm(initial=start, total=None if args.minutes else steps, desc=stage, disable=rank > 0, mininterval=5)
    done = progress.done()
    while done < 1:
        for group in optim.param_groups:
            group["lr"] = learning_rate(done, recipe)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            if stage == "language":
                losses = language_losses(training, *encoded.batch(share, rng), rng, texts)
            else:
                losses = pair_losses(training, source.batch(share), stage, rng, texts, device)
        total = sum(losses.values())
        optim.zero_grad(set_to_none=True)
        total.backward()
        progress.step += 1
        done = average_gradients(parameters, args.processes, progress.done())
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optim.step()
        if rank == 0:
            for name, value in losses.items():
                value = float(value.detach())
                averages[name] = 0.98 * averages.get(name, value) + 0.02 * value
            bar.update()
            if progress.step % 20 == 0:
                bar.set_postfix({k: f"{v:.3f}" for k, v in averages.items() if k.split()[-1] in SHOWN}, refresh=False)
            if time.monotonic() - saved > SAVE_SECONDS:
                store(path, training, optim, progress.step)
                saved = time.monotonic()
    if rank == 0:
        store(path, training, optim, max(steps, progress.step))


def pair_losses(training, batch, stage, rng, texts, device):
    images, maps, density, known = (batch[i].to(device) for i in (0, 1, 2, 4))
    losses, pairs = training.dense_losses(images, maps, density, known)
    if stage != "vision":
        losses |= language_losses(training, pairs, density, batch[3], rng, texts)
    return losses


def language_losses(training, pairs, density, facts, rng, texts):
    losses = {}
    for group, (count, _) in GROUPS.items():
        drawn = [t for f in facts for t in draw_texts(f, rng, group)]
        found = training.text_losses(pairs, facts, density, count, texts.batch(drawn))
        losses |= {f"{group} {name}": count / 4 * value for name, value in found.items()}
    return losses


def store(path, training, optim, step):
    partial = path.with_suffix(".partial")
    torch.save({"training": training.state_dict(), "optim": optim.state_dict(), "step": step}, partial)
    partial.rename(path)


def restore(path, training, optim=None):
    if path.is_dir():
        training.model.load_state_dict(layout.load(path).state_dict())
        return 0
    saved = torch.load(path, map_location="cpu", weights_only=True)
    training.load_state_dict(saved["training"])
    if optim is not None:
        optim.load_state_dict(saved["optim"])
    return saved["step"]


def work(rank, args):
    if args.processes > 1:
        torch.set_num_threads(1)
        dist.init_process_group("gloo", rank=rank, world_size=args.processes)
    device = torch.device("cuda" if torch.cuda.is_available() and args.processes == 1 else "cpu")
    torch.manual_seed(args.seed)
    training = Training(Config()).to(device)
    data = [(Pairs(args.data, rank, args.processes), 1.0 if not args.real else 1.0 - REAL_SHARE)]
    if args.real:
        data.append((Pairs(args.real, rank, args.processes), REAL_SHARE))
    texts = Texts(args.tokenizers)
    previous = args.warm_start
    for stage in args.stages.split(","):
        if previous is not None and previous.exists() and not (args.run / f"{stage}.pt").exists():
            restore(previous, training)
        run_stage(stage, training, data, texts, args, rank, device)
        previous = args.run / f"{stage}.pt"
        if args.processes > 1:
            dist.barrier()
    if args.processes > 1:
        dist.destroy_process_group()


def write_weights(checkpoint, directory):
    """The published layouts from a stage's checkpoint."""
    training = Training(Config())
    step = restore(checkpoint, training)
    layout.save(training.model, directory, {"epoch": 0, "iters": step})


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=pathlib.Path)
    parser.add_argument("--real", type=pathlib.Path, help="pairs of build_real.py, a part of every batch")
    parser.add_argument("--run", type=pathlib.Path, required=True, help="checkpoints go here")
    parser.add_argument("--tokenizers", type=pathlib.Path, default=HERE / "weights")
    parser.add_argument("--stages", default=",".join(STAGES))
    parser.add_argument("--steps", type=int, help="instead of the recipe's, for every stage named")
    parser.add_argument("--minutes", type=float, help="by the clock instead of by steps, for every stage named")
    parser.add_argument("--rate", type=float, help="peak learning rate instead of the recipe's")
    parser.add_argument("--warm-start", type=pathlib.Path, help="checkpoint or weights directory to begin the first stage from")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--processes", type=int, default=1 if torch.cuda.is_available() else os.cpu_count())
    parser.add_argument("--write", type=pathlib.Path, help="write the last stage's weights here and stop")
    args = parser.parse_args()
    args.run.mkdir(parents=True, exist_ok=True)
    if args.write:
        done = [args.run / f"{s}.pt" for s in STAGES if (args.run / f"{s}.pt").exists()]
        write_weights(done[-1], args.write)
        return
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    os.environ.setdefault("MASTER_PORT", "29511")
    if "RANK" in os.environ:  # started by torchrun or alike
        args.processes = int(os.environ["WORLD_SIZE"])
        work(int(os.environ["RANK"]), args)
        return
    if args.processes == 1:
        work(0, args)
        return
    torch.multiprocessing.spawn(work, (args,), nprocs=args.processes)


if __name__ == "__main__":
    main()
