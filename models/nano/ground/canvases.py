"""Real pictures by place: read, joined where tiles adjoin, and split.

A data folder holds

    single/<source>/NAME.jpg   one date, NAME.png is its building mask if there is one
    pairs/<source>/NAME_a.jpg, NAME_b.jpg   two dates of one place, nothing built between

Tiles whose names carry grid positions (`tile_ROW_COLUMN`, slippy-map
`OAM-X-Y-ZOOM`) are joined into one canvas, because one tile covers less ground
than the model is made for. A canvas belongs to one part only, training or
validation: crops of one place never stand on both sides.
"""

import math
import pathlib
import re
from dataclasses import dataclass

import numpy as np
from PIL import Image

#: Ground sampling distance of a tile where no file says it, metres per pixel.
SAMPLING = {"estonia": 0.2, "neon": 0.1, "noaa": 0.35}
TRAINING, VALIDATION = "training", "validation"
#: Every such place of a source is kept for validation.
HELD_OUT_EVERY = 4
_EQUATOR = 40_075_016.7


@dataclass
class Canvas:
    source: str
    place: str
    part: str
    metres: float                # per pixel
    images: list                 # one date, or two of the same place
    mask: np.ndarray = None      # buildings (uint8 0/255); None: not known
    valid: np.ndarray = None     # where there is a picture

    @property
    def buildings_known(self):
        return self.mask is not None


def read(path, mode="RGB"):
    return np.asarray(Image.open(path).convert(mode))


def load(folder, part):
    """All canvases of `part` of a data folder."""
    folder = pathlib.Path(folder)
    found = []
    for source in sorted(p for p in (folder / "single").glob("*") if p.is_dir()):
        found += _single(source, part)
    for source in sorted(p for p in (folder / "pairs").glob("*") if p.is_dir()):
        found += _two_dates(source, part)
    if not found:
        raise SystemExit(f"{folder}: no pictures under single/ or pairs/ for {part}")
    return found


def _part(number):
    return VALIDATION if number % HELD_OUT_EVERY == HELD_OUT_EVERY - 1 else TRAINING


def _single(source, part):
    groups = {}
    for path in sorted(source.glob("*.jpg")):
        key, x, y, metres = _position(source.name, path.stem)
        groups.setdefault((key, metres), []).append((x, y, path))
    out = []
    for number, ((key, metres), tiles) in enumerate(sorted(groups.items(), key=lambda g: str(g[0]))):
        if _part(number) == part:
            out.append(_joined(source.name, str(key), part, metres, tiles))
    return out


def _position(source, stem):
    """`(group of adjoining tiles, column, row, metres per pixel)`."""
    if match := re.fullmatch(r"tile_(\d+)_(\d+)", stem):
        # One long strip of four rows: blocks of six columns are places.
        row, column = int(match[1]) // 500, int(match[2]) // 500
        return f"{column // 6:02d}", column % 6, row, SAMPLING[source]
    if match := re.fullmatch(r"OAM-(\d+)-(\d+)-(\d+)", stem):
        x, y, zoom = map(int, match.groups())
        latitude = math.atan(math.sinh(math.pi * (1 - 2 * y / 2**zoom)))
        metres = round(_EQUATOR * math.cos(latitude) / 2**zoom / 256, 4)
        # Four by four chips of the finest zoom are one place.
        return f"{zoom}-{x // 4}-{y // 4}", x % 4, y % 4, metres
    return stem, 0, 0, SAMPLING.get(source, 0.3)


def _joined(source, place, part, metres, tiles):
    height, width = read(tiles[0][2]).shape[:2]
    columns, rows = (max(t[i] for t in tiles) - min(t[i] for t in tiles) + 1 for i in (0, 1))
    left, top = (min(t[i] for t in tiles) for i in (0, 1))
    image = np.zeros((rows * height, columns * width, 3), np.uint8)
    mask = np.zeros(image.shape[:2], np.uint8)
    valid = np.zeros(image.shape[:2], bool)
    known = True
    for x, y, path in tiles:
        at = np.s_[(y - top) * height:(y - top + 1) * height, (x - left) * width:(x - left + 1) * width]
        picture = read(path)
        image[at], valid[at] = picture, True
        outline = path.with_suffix(".png")
        if outline.exists():
            mask[at] = np.where(read(outline, "L") > 127, 255, 0)
        else:
            known = False
    if source == "neon":
        known = True             # woodland: there is no building
    return Canvas(source, f"{source}/{place}", part, metres, [image], mask if known else None, valid)


def _two_dates(source, part):
    out = []
    for number, path in enumerate(sorted(source.glob("*_a.jpg"))):
        later = path.with_name(path.name.replace("_a.jpg", "_b.jpg"))
        if _part(number) == part and later.exists():
            images = [read(path), read(later)]
            shape = images[0].shape[:2]
            out.append(Canvas(
                source.name, f"{source.name}/{path.stem[:-2]}", part, SAMPLING.get(source.name, 0.3), images,
                np.zeros(shape, np.uint8) if source.name == "neon" else None, np.ones(shape, bool),
            ))
    return out
