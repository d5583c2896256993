"""Writes odd pictures and what Pillow makes of them.

    python make_picture_golden.py

Needs `pillow` and `numpy`. `pictures/` holds the files, `pictures.bin` one after
the other the RGB bytes after `exif_transpose`, `convert("RGB")` and
`resize((SIDE, SIDE), BICUBIC)`, in the order of the file names.
"""

import pathlib
import struct
import zlib

import numpy as np
from PIL import Image, ImageOps

HERE = pathlib.Path(__file__).parent
SIDE = 24


def png(pixels, color_type, depth):
    """A PNG of any depth, which Pillow cannot write itself."""
    height, width = pixels.shape[:2]
    rows = pixels.astype(">u2" if depth == 16 else "u1").reshape(height, -1)
    data = b"".join(b"\0" + row.tobytes() for row in rows)

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def scene(rng, height, width, channels):
    """Edges, a gradient and noise: what resampling and compression get wrong."""
    y, x = np.mgrid[:height, :width]
    base = 90 + 70 * np.sin(x / 5.0) * np.cos(y / 7.0)
    base[height // 4:height // 2, width // 3:] = 230
    picture = base[..., None] + np.arange(channels) * 15 + rng.normal(0, 6, (height, width, channels))
    return picture.clip(0, 255).astype(np.uint8)


def main():
    rng = np.random.default_rng(5)
    out = HERE / "pictures"
    out.mkdir(exist_ok=True)
    for old in out.iterdir():
        old.unlink()
    rgb = Image.fromarray(scene(rng, 61, 47, 3))
    rgb.save(out / "rgb_odd.png")
    Image.fromarray(scene(rng, 9, 13, 3)).save(out / "rgb_small.png")
    Image.fromarray(scene(rng, 1, 1, 3)).save(out / "rgb_single.png")
    Image.fromarray(scene(rng, 3, 90, 3)).save(out / "rgb_flat.png")
    Image.fromarray(scene(rng, 90, 5, 3)).save(out / "rgb_tall.png")
    Image.fromarray(scene(rng, 60, 31, 3)).save(out / "rgb_rather_tall.png")
    Image.fromarray(scene(rng, SIDE, SIDE, 3)).save(out / "rgb_same_size.png")
    Image.fromarray(scene(rng, SIDE, 50, 3)).save(out / "rgb_same_height.png")
    Image.fromarray(scene(rng, 40, 33, 1)[..., 0]).save(out / "grey.png")
    Image.fromarray(scene(rng, 40, 33, 1)[..., 0]).convert("1").save(out / "bilevel.png")
    Image.fromarray(scene(rng, 40, 33, 2), "LA").save(out / "grey_alpha.png")
    Image.fromarray(scene(rng, 40, 33, 4), "RGBA").save(out / "rgba.png")
    rgb.quantize(16).save(out / "palette.png")
    rgb.quantize(200).save(out / "palette_transparent.png", transparency=3)
    deep = scene(rng, 40, 33, 4).astype(np.uint16) * 256 + rng.integers(0, 256, (40, 33, 4))
    (out / "rgb16.png").write_bytes(png(deep[..., :3], 2, 16))
    (out / "rgba16.png").write_bytes(png(deep, 6, 16))
    (out / "grey_alpha16.png").write_bytes(png(deep[..., :2], 4, 16))
    (out / "grey16_dark.png").write_bytes(png(deep[..., :1] >> 8, 0, 16))
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        rgb.save(out / f"exif{orientation}.jpg", exif=exif, quality=92, subsampling=0)
    rgb.save(out / "subsampled.jpg", quality=85, subsampling=2)
    rgb.save(out / "subsampled_422.jpg", quality=85, subsampling=1)
    rgb.save(out / "progressive.jpg", quality=90, progressive=True)
    rgb.convert("L").save(out / "grey.jpg", quality=90)
    rgb.save(out / "plain.tif")
    rgb.save(out / "lzw.tif", compression="tiff_lzw")
    rgb.save(out / "deflate.tif", compression="tiff_adobe_deflate")
    rgb.convert("L").save(out / "grey.tif")
    rgb.save(out / "big.tif", big_tiff=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    rgb.save(out / "exif6.png", exif=exif)
    rgb.save(out / "exif6.tif", tiffinfo={0x0112: 6})
    rgb.convert("CMYK").save(out / "cmyk.jpg", quality=90)
    rgb.convert("CMYK").save(out / "cmyk.tif")
    rgb.quantize(100).save(out / "palette.tif")
    rgb.quantize(12).save(out / "palette.bmp")
    rgb.quantize(100).save(out / "palette.gif")
    rgb.quantize(100).save(out / "palette_transparent.gif", transparency=3)
    rgb.convert("1").save(out / "bilevel.tif")
    rgb.convert("1").save(out / "bilevel.bmp")
    rgb.save(out / "rgb.bmp")
    rgb.save(out / "lossless.webp", lossless=True)
    rgb.save(out / "lossy.webp", quality=85)
    rgb.convert("RGBA").save(out / "lossy_alpha.webp", quality=85)
    rgb.save(out / "jpeg.tif", compression="jpeg", quality=90)
    rgb.save(out / "packbits.tif", compression="packbits")
    rgb.save(out / "zstd.tif", compression="zstd")
    rgb.convert("RGBA").save(out / "rgba.tif")

    with (HERE / "pictures.bin").open("wb") as file:
        for path in sorted(out.iterdir()):
            picture = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
            file.write(np.asarray(picture.resize((SIDE, SIDE), Image.BICUBIC)).tobytes())


if __name__ == "__main__":
    main()
