"""Writes geotiffs/*.tif in every layout that GDAL writes, and what rasterio reads back of each.

Usage: python make_geotiffs.py   (needs numpy, Pillow and rasterio)

geotiffs/NAME.tif      the file
geotiffs/index.json    of each: size, bands, transform, EPSG code, pixels without data, and the SHA-256 of the samples
                       (little-endian, bands interleaved) of the picture and of each overview, as rasterio reads them;
                       of JPEG in YCbCr as Pillow reads them: GDAL's own build widens reduced colour without smoothing, which
                       differs by up to 11 levels from every .jpg that a model was trained on
"""
import hashlib
import json
from pathlib import Path

import numpy as np
import rasterio
from PIL import Image
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.transform import Affine

HERE = Path(__file__).with_name("geotiffs")
HERE.mkdir(exist_ok=True)
for old in HERE.iterdir():
    old.unlink()
rng = np.random.default_rng(15)
UTM = Affine(0.3, 0, 691000, 0, -0.3, 5334000)
index = []


def scene(bands, height, width, dtype):
    y, x = np.mgrid[0:height, 0:width]
    planes = []
    for band in range(bands):
        plane = 90 + 60 * np.sin(x / 5 + band) + 50 * np.cos(y / 7 - band) + rng.integers(0, 12, (height, width))
        planes.append(plane)
    data = np.stack(planes)
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return (data / 200 - 0.1).astype(kind)
    scale = {"uint8": 1, "int16": 40, "uint16": 200, "uint32": 9000, "int32": 9000}[dtype]
    if kind.kind == "i":
        data = data - 100
    return np.clip(data, 0 if kind.kind == "u" else -1e9, 255 if dtype == "uint8" else 1e9).astype(np.float64).__mul__(scale).astype(kind)


def digest(samples):
    samples = np.ascontiguousarray(samples.transpose(1, 2, 0))
    return hashlib.sha256(samples.astype(samples.dtype.newbyteorder("<")).tobytes()).hexdigest()


def save(name, bands=3, dtype="uint8", size=(23, 29), crs=32632, transform=UTM, nodata=None, mask=None, overviews=None,
         data=None, env=None, **options):
    data = scene(bands, *size, dtype) if data is None else data
    if nodata is not None:
        data[:, 3:9, 4:20] = nodata
    path = HERE / f"{name}.tif"
    with rasterio.Env(**(env or {})):
        with rasterio.open(path, "w", driver="GTiff", width=data.shape[2], height=data.shape[1], count=data.shape[0], dtype=dtype,
                           crs=CRS.from_epsg(crs) if crs else None, transform=transform, nodata=nodata, **options) as out:
            out.write(data)
            if mask is not None:
                out.write_mask(mask)
        if overviews:
            with rasterio.open(path, "r+") as out:
                out.build_overviews(overviews, Resampling.nearest)
    with rasterio.open(path) as file:
        valid = file.dataset_mask() != 0
        samples = file.read()
        if options.get("photometric") == "YCbCr":
            samples = np.asarray(Image.open(path)).transpose(2, 0, 1)
        levels, hashes = [], [digest(samples)]
        for level in range(len(file.overviews(1)) if overviews else 0):
            with rasterio.open(path, overview_level=level) as small:
                levels.append([small.width, small.height])
                hashes.append(digest(small.read()))
        index.append(dict(
            name=name, width=file.width, height=file.height, bands=file.count, sha256=hashes,
            transform=list(file.transform.to_gdal()) if file.crs else None,
            epsg=file.crs.to_epsg() if file.crs else None,
            invalid=int((~valid).sum()), levels=levels))


for big in (False, True):
    for endian in ("LITTLE", "BIG"):
        save(f"plain_{'big' if big else 'classic'}_{endian.lower()}", bigtiff="YES" if big else "NO", endianness=endian, dtype="uint16")
for compress in ("lzw", "deflate", "packbits", "zstd"):
    for dtype in ("uint8", "uint16"):
        save(f"{compress}_{dtype}", compress=compress, dtype=dtype)
for compress in ("lzw", "deflate", "zstd"):
    for dtype in ("uint8", "uint16", "uint32", "int16"):
        save(f"{compress}_predictor2_{dtype}", compress=compress, predictor=2, dtype=dtype)
save("deflate_predictor2_big_endian", compress="deflate", predictor=2, dtype="uint16", endianness="BIG")
for dtype in ("float32", "float64"):
    save(f"{dtype}_plain", dtype=dtype)
    save(f"{dtype}_predictor3", dtype=dtype, compress="deflate", predictor=3)
save("float32_predictor3_big_endian", dtype="float32", compress="lzw", predictor=3, endianness="BIG")
save("float32_nan", bands=1, dtype="float32", nodata=float("nan"))
for bands in (1, 2, 3, 4, 5, 8):
    for interleave in ("pixel", "band"):
        save(f"u16_{bands}_{interleave}", bands=bands, dtype="uint16", interleave=interleave)
        save(f"u8_{bands}_{interleave}_tiled", bands=bands, interleave=interleave, tiled=True, blockxsize=16, blockysize=32, compress="deflate")
save("u16_rgb", dtype="uint16", photometric="RGB")
save("rgba", bands=4, photometric="RGB", alpha="YES", data=np.concatenate([scene(3, 23, 29, "uint8"), np.pad(np.full((1, 16, 20), 255, np.uint8), ((0, 0), (0, 7), (0, 9)))]))
save("strips_of_five_rows", blockysize=5, compress="lzw")
save("one_strip", blockysize=23)
save("tiles_beyond_the_edge", tiled=True, blockxsize=32, blockysize=16, interleave="band")
save("sparse", tiled=True, blockxsize=16, blockysize=16, sparse_ok="TRUE", nodata=7, data=np.full((3, 23, 29), 7, np.uint8))
save("nbits1", bands=1, nbits=1, data=(scene(1, 23, 29, "uint8") > 90).astype(np.uint8))
save("nbits4", bands=1, nbits=4, data=(scene(1, 23, 29, "uint8") // 16))
save("nbits12", bands=3, nbits=12, dtype="uint16", data=scene(3, 23, 29, "uint16") % 4096)
save("nodata_u8", nodata=0)
save("nodata_u16", dtype="uint16", nodata=65535)
save("nodata_f32", dtype="float32", nodata=-3.4028234663852886e38)
mask = np.full((64, 80), 255, np.uint8)
mask[:20, :30] = 0
save("jpeg_ycbcr_mask", size=(64, 80), compress="jpeg", photometric="YCbCr", tiled=True, blockxsize=32, blockysize=32, mask=mask, env=dict(GDAL_TIFF_INTERNAL_MASK="YES"))
save("jpeg_ycbcr_strips", size=(50, 70), compress="jpeg", photometric="YCbCr", blockysize=16, jpeg_quality=90)
save("jpeg_rgb", size=(48, 48), compress="jpeg", photometric="RGB", tiled=True, blockxsize=16, blockysize=16)
save("jpeg_grey", size=(48, 48), bands=1, compress="jpeg")
save("jpeg_four_bands", size=(48, 48), bands=4, compress="jpeg", interleave="pixel")
save("jpeg_planar", size=(48, 48), bands=3, compress="jpeg", interleave="band")
save("overviews", size=(96, 128), compress="deflate", tiled=True, blockxsize=32, blockysize=32, overviews=[2, 4])
save("wgs84", crs=4326, transform=Affine(1e-5, 0, 11.5, 0, -1e-5, 48.1), bands=1)
save("web_mercator", crs=3857, transform=Affine(0.5, 0, 1280000, 0, -0.5, 6130000), bands=1)
save("utm_south", crs=32723, transform=Affine(0.1, 0, 330000, 0, -0.1, 7390000), bands=1)
save("etrs89", crs=25832, bands=1)
save("rotated", transform=Affine(0.2, 0.1, 691000, 0.1, -0.2, 5334000), bands=1)
save("pixel_is_point", bands=1)
with rasterio.open(HERE / "pixel_is_point.tif", "r+") as file:
    file.update_tags(AREA_OR_POINT="Point")
with rasterio.open(HERE / "pixel_is_point.tif") as file:
    index[-1]["transform"] = list(file.transform.to_gdal())
save("lambert93", crs=2154, bands=1, transform=Affine(0.2, 0, 650000, 0, -0.2, 6860000))
save("dem", bands=1, dtype="float32", size=(24, 24), nodata=-9999.0, transform=Affine(10, 0, 691000, 0, -10, 5334000),
     data=(500 + np.add.outer(np.arange(24) * 2.0, np.arange(24) * 3.0)).astype(np.float32)[None])
(HERE / "index.json").write_text(json.dumps(index, separators=(",", ":")).replace("},", "},\n") + "\n")
