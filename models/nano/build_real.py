"""Makes training pairs from real pictures, once, for many passes over them.

    python build_real.py --data FOLDER --seed 1 --count 12000 --out OUT [--part validation]
    python build_real.py --data FOLDER --seed 2 --count 300 --set DIR --part validation

`--out` writes chunks as build_data.py does, `--set` pictures and annotations as
generate.py does. The layout of FOLDER is that of `ground/canvases.py`.
"""

import argparse
import json
import multiprocessing
import pathlib

import cv2
import numpy as np
from PIL import Image
from tqdm import tqdm

from build_data import CHUNK, shrink
from deltavlm.config import Config
from ground.canvases import TRAINING, VALIDATION, load
from ground.pairs import Maker
from scenes.annotations import write

_maker = None


def start(data, part):
    global _maker
    cv2.setNumThreads(1)
    _maker = Maker(load(data, part))


def make_chunk(job):
    seed, first, stop, path = job
    if path.exists():
        return stop - first
    side = Config().image_size
    images, maps, density, known, facts = [], [], [], [], []
    for index in range(first, stop):
        pair = _maker.make(seed, index)
        shown, amounts, flags = pair.maps()
        images.append([shrink(pair.before, side), shrink(pair.after, side)])
        maps.append(shown)
        density.append(amounts)
        known.append(flags)
        facts.append(json.dumps(pair.facts().to_json()))
    partial = path.with_suffix(".partial.npz")
    np.savez(partial, images=np.array(images), maps=np.array(maps), density=np.array(density),
             known=np.array(known, bool), facts=np.array(facts))
    partial.rename(path)
    return stop - first


def make_set(job):
    seed, index, out = job
    pair = _maker.make(seed, index)
    name = f"test_{index:06d}.png"
    for date, picture in (("A", pair.before), ("B", pair.after)):
        Image.fromarray(picture).save(out / "images" / date / name, compress_level=3)
    return name, pair.facts()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--part", choices=(TRAINING, VALIDATION), default=TRAINING)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--set", type=pathlib.Path)
    parser.add_argument("--workers", type=int, default=multiprocessing.cpu_count())
    args = parser.parse_args()
    jobs = []
    if args.out:
        chunks = args.out / "chunks"
        chunks.mkdir(parents=True, exist_ok=True)
        jobs = [(args.seed, first, min(first + CHUNK, args.count), chunks / f"{first:07d}.npz")
                for first in range(0, args.count, CHUNK)]
    with multiprocessing.Pool(args.workers, start, (args.data, args.part)) as pool:
        with tqdm(total=args.count, unit="pair") as bar:
            for done in pool.imap_unordered(make_chunk, jobs):
                bar.update(done)
        if args.set:
            for date in "AB":
                (args.set / "images" / date).mkdir(parents=True, exist_ok=True)
            jobs = [(args.seed, i, args.set) for i in range(args.count)]
            write(list(tqdm(pool.imap(make_set, jobs, chunksize=8), total=args.count, unit="pair")), args.set, args.seed, 4)


if __name__ == "__main__":
    main()
