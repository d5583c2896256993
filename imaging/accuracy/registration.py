"""Registration measured by known warps, and OpenCV on the same pictures.

    python registration.py warp OUT --pairs season 'DIR/*_a.jpg' 'DIR/*_b.jpg' --unrelated 'DIR/*.jpg'
    python registration.py opencv OUT
    python registration.py time REFERENCE FRAME
    cargo run --release -p deltavlm-imaging --example registration_accuracy -- OUT

`warp` brings the pictures of every pair to 1024 pixels and warps the second one by random
homographies, with other brightness, noise, blur and JPEG. It writes the pictures and
`cases.jsonl`, one case a line:

    {"kind", "reference", "frame", "truth": [9] or null, "start": [9] or null, "original": px}

`truth` brings a frame's pixel to the reference's (null: the two show different places);
`start` is what a drone's pose would say of it; `original` is the width of the original in pixels.
Needs numpy, opencv-python-headless >= 5.
"""

import argparse
import glob
import json
import random
import time
from pathlib import Path

import cv2
import numpy as np

SIDE = 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser("warp", help="make the cases")
    make.add_argument("out", type=Path)
    make.add_argument("--pairs", nargs=3, action="append", default=[], metavar=("KIND", "BEFORE", "AFTER"))
    make.add_argument("--unrelated", nargs="+", default=[], metavar="GLOB", help="one glob a source")
    make.add_argument("--count", type=int, default=1000, help="unrelated cases")
    make.add_argument("--warps", type=int, default=4, help="warps of a pair")
    make.add_argument("--shift", type=float, default=120, help="greatest shift in pixels of 1024")
    make.add_argument("--seed", type=int, default=1)
    peers = commands.add_parser("opencv", help="SIFT and ORB with MAGSAC on the cases")
    peers.add_argument("out", type=Path)
    one = commands.add_parser("time", help="OpenCV's time for one pair, on one thread")
    one.add_argument("reference", type=Path)
    one.add_argument("frame", type=Path)
    chosen = parser.parse_args()
    if chosen.command == "warp":
        warp(chosen)
    elif chosen.command == "opencv":
        opencv(chosen.out)
    else:
        timed(chosen.reference, chosen.frame)


# --------------------------------------------------------------------- the cases


def warp(chosen):
    random.seed(chosen.seed)
    np.random.seed(chosen.seed)
    chosen.out.mkdir(parents=True, exist_ok=True)
    with open(chosen.out / "cases.jsonl", "w") as cases:
        for group, (kind, before, after) in enumerate(chosen.pairs):
            befores, afters = sorted(glob.glob(before)), sorted(glob.glob(after))
            if len(befores) != len(afters) or not befores:
                raise SystemExit(f"{kind}: {len(befores)} before, {len(afters)} after")
            for index, (a, b) in enumerate(zip(befores, afters)):
                for turn in range(chosen.warps):
                    write(cases, chosen, f"{kind}{group}_{index:03}_{turn}", kind, read(a), read(b), True)
        for number in range(chosen.count if chosen.unrelated else 0):
            a, b = unrelated(chosen.unrelated)
            write(cases, chosen, f"unrelated_{number:04}", "unrelated", a, b, False)


def write(cases, chosen, name, kind, before, after, related):
    reference, frame = square(before), square(after)
    truth = homography(chosen.shift)
    frame = cv2.warpPerspective(frame, np.linalg.inv(truth), (SIDE, SIDE), flags=cv2.INTER_AREA)
    quality = random.randint(50, 92)
    cv2.imwrite(str(chosen.out / f"{name}_b.jpg"), distorted(frame), [cv2.IMWRITE_JPEG_QUALITY, quality])
    cv2.imwrite(str(chosen.out / f"{name}_a.jpg"), reference, [cv2.IMWRITE_JPEG_QUALITY, 95])
    case = {
        "kind": kind,
        "reference": f"{name}_a.jpg",
        "frame": f"{name}_b.jpg",
        "truth": truth.flatten().tolist() if related else None,
        "start": start(truth).flatten().tolist(),
        "original": before.shape[1],
    }
    cases.write(json.dumps(case) + "\n")


def read(path):
    picture = cv2.imread(path)
    if picture is None:
        raise SystemExit(f"{path}: not a picture")
    return picture


def square(picture):
    """The largest square in the middle, at 1024 pixels."""
    height, width = picture.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return cv2.resize(picture[top : top + side, left : left + side], (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)


def homography(greatest_shift):
    """Rotation to 15 degrees, scale 0.9 to 1.1, tilt to 5 % over the frame, about its centre."""
    angle, scale = np.radians(random.uniform(-15, 15)), random.uniform(0.9, 1.1)
    shift = [random.uniform(-greatest_shift, greatest_shift) for _ in range(2)]
    tilt = [random.uniform(-0.05, 0.05) / SIDE for _ in range(2)]
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    middle = (SIDE - 1) / 2
    to, back = np.eye(3), np.eye(3)
    to[:2, 2], back[:2, 2] = -middle, middle
    similar = np.array([[c, -s, shift[0]], [s, c, shift[1]], [0, 0, 1]])
    tilted = np.array([[1, 0, 0], [0, 1, 0], [*tilt, 1]])
    whole = back @ similar @ tilted @ to
    return whole / whole[2, 2]


def start(truth):
    """The truth at the centre as a pose says it: no tilt, yaw within about 3 degrees, scale within
    3 %, place within about 4 % of the frame."""
    middle = np.array([(SIDE - 1) / 2, (SIDE - 1) / 2, 1])
    at, right = truth @ middle, truth @ (middle + [1, 0, 0])
    at, right = at[:2] / at[2], right[:2] / right[2]
    step = (right - at) * random.gauss(1, 0.015)
    angle = np.arctan2(step[1], step[0]) + np.radians(np.clip(random.gauss(0, 1.5), -4, 4))
    size = np.hypot(*step)
    c, s = size * np.cos(angle), size * np.sin(angle)
    place = at + np.clip([random.gauss(0, 20) for _ in range(2)], -50, 50)
    turn = np.array([[c, -s], [s, c]])
    found = np.eye(3)
    found[:2, :2], found[:2, 2] = turn, place - turn @ middle[:2]
    return found


def distorted(picture):
    value = picture.astype(np.float32) * random.uniform(0.7, 1.3)
    value += np.random.normal(0, random.uniform(0, 6), picture.shape)
    blur = random.uniform(0, 1.5)
    if blur > 0.3:
        value = cv2.GaussianBlur(value, (0, 0), blur)
    # What lies beyond the picture stays black: a camera has no noise there, and no data.
    value[(picture == 0).all(axis=2)] = 0
    return np.clip(value, 0, 255).astype(np.uint8)


def unrelated(sources):
    """Two pictures of different places; every eighth time of water, sand, grain or a plain field."""
    files = [sorted(glob.glob(source)) for source in sources]
    plain = random.random() < 0.125
    first = random.choice(files)
    a = random.choice(first)
    while True:
        second = first if random.random() < 0.5 else random.choice(files)
        b = random.choice(second)
        # Neighbours of one flight may overlap; the next dozen names are left out.
        if second is not first or abs(first.index(a) - first.index(b)) > 12:
            break
    if not plain:
        return crop(read(a)), crop(read(b))
    kind = random.choice(["water", "field", "grain"])
    return texture(kind), texture(kind) if random.random() < 0.5 else crop(read(b))


def crop(picture):
    """A part of a large picture, so that different places of it come up."""
    height, width = picture.shape[:2]
    side = min(height, width, random.choice([256, 400, 800]))
    top, left = random.randint(0, height - side), random.randint(0, width - side)
    return picture[top : top + side, left : left + side]


def texture(kind):
    side = 400
    noise = np.random.normal(0, 1, (side, side)).astype(np.float32)
    if kind == "water":
        value = cv2.GaussianBlur(noise, (0, 0), 6, sigmaY=2)
    elif kind == "field":
        rows = np.sin(np.arange(side) * random.uniform(0.3, 1.2))[None, :]
        value = cv2.GaussianBlur(noise, (0, 0), 2) + 0.3 * rows.astype(np.float32)
        turn = cv2.getRotationMatrix2D((side / 2, side / 2), random.uniform(0, 180), 1.5)
        value = cv2.warpAffine(value, turn, (side, side))
    else:
        value = cv2.GaussianBlur(noise, (0, 0), 1)
    value = (value - value.mean()) / value.std()
    base = np.array([random.randint(60, 150) for _ in range(3)])
    return np.clip(base + random.uniform(4, 25) * value[:, :, None], 1, 255).astype(np.uint8)


# -------------------------------------------------------------------- OpenCV


def opencv(out):
    cv2.setNumThreads(1)
    cases = [json.loads(line) for line in open(out / "cases.jsonl")]
    finders = {
        "SIFT": (cv2.SIFT_create(4000), cv2.NORM_L2),
        "ORB": (cv2.ORB_create(4000), cv2.NORM_HAMMING),
    }
    for name, (finder, norm) in finders.items():
        table, seconds = {}, 0.0
        for case in cases:
            reference = cv2.imread(str(out / case["reference"]), cv2.IMREAD_GRAYSCALE)
            frame = cv2.imread(str(out / case["frame"]), cv2.IMREAD_GRAYSCALE)
            started = time.perf_counter()
            found = match(finder, norm, frame, reference)
            seconds += time.perf_counter() - started
            row = table.setdefault(case["kind"], {"cases": 0, "errors": []})
            row["cases"] += 1
            if found is not None:
                row["errors"].append(error(found, case) if case["truth"] else np.inf)
        print(f"OpenCV {cv2.__version__} {name}, ratio test, MAGSAC, 12 inliers or more; {1e3 * seconds / len(cases):.0f} ms a case")
        for kind, row in table.items():
            errors = np.array(row["errors"])
            finite = errors[np.isfinite(errors)]
            middle = f"median {np.median(finite):.2f}, 95 % {np.percentile(finite, 95):.2f}" if len(finite) else ""
            print(f"  {kind}: accepted {len(errors)} of {row['cases']}, over 5 px of the original {sum(errors > 5)}; {middle}")


def timed(reference, frame):
    """Reading the frame and matching it at full size and at a quarter, the reference being read."""
    cv2.setNumThreads(1)
    there = cv2.imread(str(reference), cv2.IMREAD_GRAYSCALE)
    report("read", lambda: cv2.imread(str(frame)))
    for name, finder, norm in (
        ("SIFT", cv2.SIFT_create(4000), cv2.NORM_L2),
        ("ORB", cv2.ORB_create(4000), cv2.NORM_HAMMING),
    ):
        for shrink in (4, 1):
            small = cv2.resize(there, None, fx=1 / shrink, fy=1 / shrink, interpolation=cv2.INTER_AREA)

            def whole():
                here = cv2.cvtColor(cv2.imread(str(frame)), cv2.COLOR_BGR2GRAY)
                here = cv2.resize(here, None, fx=1 / shrink, fy=1 / shrink, interpolation=cv2.INTER_AREA)
                return match(finder, norm, here, small)

            report(f"read + {name} at 1/{shrink}", whole)


def report(work, run):
    times = []
    for _ in range(3):
        started = time.perf_counter()
        found = run()
        times.append(time.perf_counter() - started)
    print(json.dumps({"work": work, "ms": round(1e3 * sorted(times)[1]), "found": found is not None}), flush=True)


def match(finder, norm, frame, reference):
    a, b = finder.detectAndCompute(frame, None), finder.detectAndCompute(reference, None)
    if a[1] is None or b[1] is None or len(a[1]) < 2 or len(b[1]) < 2:
        return None
    pairs = cv2.BFMatcher(norm).knnMatch(a[1], b[1], k=2)
    good = [p[0] for p in pairs if len(p) == 2 and p[0].distance < 0.8 * p[1].distance]
    if len(good) < 8:
        return None
    source = np.float32([a[0][m.queryIdx].pt for m in good])
    target = np.float32([b[0][m.trainIdx].pt for m in good])
    found, inliers = cv2.findHomography(source, target, cv2.USAC_MAGSAC, 3.0)
    return found if found is not None and inliers.sum() >= 12 else None


def error(found, case):
    """Mean distance over the frame's points that the reference holds, in pixels of the original."""
    grid = np.stack(np.meshgrid(*[np.linspace(0, SIDE - 1, 9)] * 2), -1).reshape(-1, 1, 2)
    there = cv2.perspectiveTransform(grid, np.array(case["truth"]).reshape(3, 3))
    here = cv2.perspectiveTransform(grid, found)
    inside = ((there >= 0) & (there < SIDE)).all(axis=(1, 2))
    return np.linalg.norm(there - here, axis=2)[inside].mean() * case["original"] / SIDE


if __name__ == "__main__":
    main()
