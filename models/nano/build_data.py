"""Renders training pairs once, for many passes over them.

    python build_data.py --seed 101 --count 36000 --out DATA [--workers 2]

`DATA/chunks/` then holds, for every pair, the two pictures as the model sees
them, the training maps and the truth as JSON. An interrupted run continues
where it stopped.
"""

import argparse
import json
import multiprocessing
import pathlib

import cv2
import numpy as np
from PIL import Image
from tqdm import tqdm

from deltavlm.config import Config
from scenes.pair import make_pair

CHUNK = 250


def shrink(picture, side):
    """The published preprocessing: Pillow bicubic, 8-bit result."""
    return np.asarray(Image.fromarray(picture).resize((side, side), Image.BICUBIC))


def render_chunk(job):
    """Renders `CHUNK` pairs into one file, whole or not at all."""
    cv2.setNumThreads(1)
    seed, start, stop, shifted, path = job
    if path.exists():
        return stop - start
    side = Config().image_size
    images = np.empty((stop - start, 2, side, side, 3), np.uint8)
    maps = np.empty((stop - start, 6, 30, 30), np.uint8)
    density = np.empty((stop - start, 2, 15, 15), np.float16)
    facts = []
    for i, index in enumerate(range(start, stop)):
        pair = make_pair(seed, index, shifted)
        images[i, 0], images[i, 1] = shrink(pair.before, side), shrink(pair.after, side)
        maps[i], density[i] = pair.truth.maps()
        facts.append(json.dumps(pair.truth.facts(pair.category).to_json()))
    partial = path.with_suffix(".partial.npz")
    np.savez(partial, images=images, maps=maps, density=density, facts=np.array(facts))
    partial.rename(path)
    return stop - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--workers", type=int, default=multiprocessing.cpu_count())
    parser.add_argument("--shifted", action="store_true")
    args = parser.parse_args()
    chunks = args.out / "chunks"
    chunks.mkdir(parents=True, exist_ok=True)
    jobs = [
        (args.seed, start, min(start + CHUNK, args.count), args.shifted, chunks / f"{start:07d}.npz")
        for start in range(0, args.count, CHUNK)
    ]
    with multiprocessing.Pool(args.workers) as pool, tqdm(total=args.count, unit="pair") as bar:
        for done in pool.imap_unordered(render_chunk, jobs):
            bar.update(done)


if __name__ == "__main__":
    main()
