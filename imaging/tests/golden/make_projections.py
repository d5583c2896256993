"""Writes projections.tsv: positions on WGS 84 and their coordinates, as pyproj computes them.

Usage: python make_projections.py   (needs pyproj; PROJ's extended transverse Mercator is the reference)
"""
import random
from pathlib import Path

from pyproj import Transformer

random.seed(15)
lines = ["# epsg\tlon\tlat\teasting\tnorthing, by pyproj"]
for epsg in [32601, 32615, 32632, 32660, 32701, 32723, 32756, 25832, 26915, 3857]:
    to = Transformer.from_crs(4326, epsg, always_xy=True)
    for index in range(8):
        if epsg == 3857:
            lon, lat = random.uniform(-180, 180), random.uniform(-85, 85)
        else:
            zone = epsg % 100
            south = 32700 < epsg < 32800
            lon = zone * 6 - 183 + random.uniform(-3, 3) * (3 if index == 7 else 1)
            lon = (lon + 180) % 360 - 180
            lat = random.uniform(-80, 0) if south else random.uniform(0, 84)
        x, y = to.transform(lon, lat)
        lines.append(f"{epsg}\t{lon:.12f}\t{lat:.12f}\t{x:.6f}\t{y:.6f}")
Path(__file__).with_name("projections.tsv").write_text("\n".join(lines) + "\n")
