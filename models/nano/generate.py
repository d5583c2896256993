"""Writes a test set: pictures, ChangeChat-105k annotations, truth.

    python generate.py --seed 9001 --count 500 --out DIR [--shifted]

See ANNOTATIONS.md for every file. `--shifted` draws from other palettes,
ground sampling distances, roof shapes and stronger misregistration.
"""

import argparse
import multiprocessing
import pathlib

import cv2
from PIL import Image
from tqdm import tqdm

from scenes.annotations import write
from scenes.pair import make_pair

QUESTIONS_PER_PAIR = 4


def render(job):
    """Writes one pair's pictures; returns its name and facts."""
    cv2.setNumThreads(1)
    seed, index, shifted, out = job
    pair = make_pair(seed, index, shifted)
    name = f"test_{index:06d}.png"
    for date, picture in (("A", pair.before), ("B", pair.after)):
        Image.fromarray(picture).save(out / "images" / date / name, compress_level=3)
    return name, pair.truth.facts(pair.category)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--shifted", action="store_true")
    parser.add_argument("--workers", type=int, default=multiprocessing.cpu_count())
    args = parser.parse_args()
    for date in "AB":
        (args.out / "images" / date).mkdir(parents=True, exist_ok=True)
    jobs = [(args.seed, i, args.shifted, args.out) for i in range(args.count)]
    with multiprocessing.Pool(args.workers) as pool:
        scenes = list(tqdm(pool.imap(render, jobs, chunksize=8), total=args.count, unit="pair"))
    write(scenes, args.out, args.seed, QUESTIONS_PER_PAIR)


if __name__ == "__main__":
    main()
