"""Image files decoded by Pillow: turned as their EXIF says, resized where asked for, and within limits.

A small file can claim to be a huge picture, so the claim is looked at before any pixel is decoded.
"""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from engine.core.errors import ConfigError
from engine.data.images import Bytes, Report
from engine.data.tree import DAMAGE, Opener, Tree

if TYPE_CHECKING:
    from PIL import Image

# Format of Pillow → suffixes. All that it decodes by itself; the others start programs (EPS: Ghostscript), hold no
# picture of pixels, or only say that the file is one of theirs. Nothing else is tried, whatever a file calls itself.
FORMATS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png", ".apng"),
    "BMP": (".bmp",),
    "WEBP": (".webp",),
    "GIF": (".gif",),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "AVIF": (".avif", ".avifs"),
    "JPEG2000": (".jp2", ".j2k", ".jpc", ".jpf", ".jpx", ".j2c"),
    "TGA": (".tga", ".icb", ".vda", ".vst"),
    "DIB": (".dib",),
    "ICO": (".ico",),
    "ICNS": (".icns",),
    "CUR": (".cur",),
    "PCX": (".pcx",),
    "DCX": (".dcx",),
    "DDS": (".dds",),
    "BLP": (".blp",),
    "FTEX": (".ftc", ".ftu"),
    "FLI": (".fli", ".flc"),
    "GBR": (".gbr",),
    "IM": (".im",),
    "MSP": (".msp",),
    "PCD": (".pcd",),
    "PIXAR": (".pxr",),
    "PSD": (".psd",),
    "QOI": (".qoi",),
    "SGI": (".sgi", ".rgb", ".rgba", ".bw"),
    "SUN": (".ras",),
    "XBM": (".xbm",),
    "XPM": (".xpm",),
}
UNMARKED = ("TGA", "IM", "PCD")  # nothing at their start tells them from anything else, so their name must
MARKED = tuple(kind for kind in FORMATS if kind not in UNMARKED)
SUFFIXES = tuple(suffix for suffixes in FORMATS.values() for suffix in suffixes)
MAX_PIXELS = 4096 * 4096  # of one image that is kept as it is
MAX_REDUCED = 2**26  # pixels of one that is resized at once: 201 MB decoded
MAX_DRAFT = 2**30  # pixels of a JPEG that is reduced by up to 8 a side while it is decoded
MAX_FILE = 64 * 2**20  # bytes of one image file
MAX_BYTES = 8 * 2**30  # of all images once decoded
REPORT_EVERY = 250  # images


def decode(tree: Tree, paths: Sequence[str], where: Path, side: int, report: Report) -> Bytes:
    """The images at ``paths`` as uint8 (n, C, H, W): C = 1 if all are grey, else 3.

    With ``side`` > 0 the middle square of each is resized to that side, else all must have one size. Raises
    :class:`ConfigError` naming ``world.folder`` and the file that is damaged, too large or of another size.
    """
    pixels: Bytes | None = None
    colour = False
    first = ""
    places = sorted(range(len(paths)), key=lambda i: tree.order.get(paths[i], 0))  # else as they are
    for done, i in enumerate(places):
        path = paths[i]
        if done % REPORT_EVERY == 0:
            report(done / len(paths), f"reading images: {done:,} of {len(paths):,}")
        if tree.files[path] > MAX_FILE:
            raise ConfigError(
                f"world.folder: {path} in {where} has {tree.files[path]:,} bytes; allowed: up to {MAX_FILE:,}"
            )
        array, has_colour = _read(tree.open, path, where, side)
        colour = colour or has_colour
        if pixels is None:
            first = path
            if len(paths) * array.size > MAX_BYTES:
                raise ConfigError(
                    f"world.folder: {len(paths):,} images of {_size(array)} take {len(paths) * array.size / 2**30:.0f} "
                    f"GB in memory; allowed: up to {MAX_BYTES / 2**30:.0f}; world.side makes them smaller"
                )
            pixels = np.empty((len(paths), *array.shape), np.uint8)
        if array.shape != pixels.shape[1:]:
            raise ConfigError(
                f"world.folder: images differ in size: {first} has {pixels.shape[2]}×{pixels.shape[1]} pixels, {path} "
                f"{_size(array)}; set world.side to resize them all"
            )
        pixels[i] = array
    assert pixels is not None
    return np.ascontiguousarray((pixels if colour else pixels[..., :1]).transpose(0, 3, 1, 2))


def _read(opener: Opener, path: str, where: Path, side: int) -> tuple[Bytes, bool]:
    """One image as (H, W, 3), and whether its file has colours."""
    from PIL import Image, UnidentifiedImageError

    try:
        with opener(path) as file:
            data = file.read(MAX_FILE)  # decoders jump about, which in an archive would mean to unpack it over and over
        with _open(data, path) as image:
            colours = image.mode not in ("1", "L", "LA")
            width, height = image.size
            most = _reduce(image, side)
            if image.width * image.height > most:
                raise ConfigError(
                    f"world.folder: {path} in {where} has {width}×{height} pixels; allowed: up to {most:,}"
                    + ("" if side else ", more with world.side, which makes them smaller")
                )
            return _array(image, side), colours
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        most = MAX_REDUCED if side else MAX_PIXELS
        raise ConfigError(f"world.folder: {path} in {where} has too many pixels; allowed: {most:,}") from None
    except (OSError, SyntaxError, struct.error, *DAMAGE) as e:
        why = " ".join(str(e).split()) or type(e).__name__
        if isinstance(e, UnidentifiedImageError):  # its own words name an object in memory
            why = "it is no image of a kind that is read"
        raise ConfigError(f"world.folder: {path} in {where} cannot be decoded: {why}") from None
    except (MemoryError, ArithmeticError, LookupError, TypeError, AttributeError) as e:  # of a decoder, at odd bytes
        raise ConfigError(f"world.folder: {path} in {where} cannot be decoded: {type(e).__name__}") from None


def _open(data: bytes, path: str) -> Image.Image:
    """The file's first picture, its pixels still to be decoded."""
    from PIL import Image, JpegImagePlugin

    if data.startswith(b"\xff\xd8"):  # not by Image.open, which refuses large ones before they can be reduced
        return JpegImagePlugin.JpegImageFile(io.BytesIO(data))
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        named = [kind for kind in UNMARKED if path.lower().endswith(FORMATS[kind])]
        return Image.open(io.BytesIO(data), formats=named or MARKED)


def _reduce(image: Image.Image, side: int) -> int:
    """Have a large JPEG reduced while it is decoded if it is to be resized; the pixels that are allowed then.

    Smaller ones are decoded whole, for the sharper picture.
    """
    if not side:
        return MAX_PIXELS
    size = image.width * image.height
    # A progressive one is held whole, whatever comes out of it.
    if image.format == "JPEG" and MAX_PIXELS < size <= (MAX_REDUCED if image.info.get("progressive") else MAX_DRAFT):
        image.draft(None, (2 * side, 2 * side))
    return MAX_REDUCED


def _array(image: Image.Image, side: int) -> Bytes:
    from PIL import Image, ImageOps

    if image.mode[0] in "IF":  # to squeeze them into 8 bits needs a choice of black and white that nobody made
        raise ValueError(f"its pixels have more than 8 bits (mode {image.mode}); allowed: 8")
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode in ("P", "PA", "RGBA", "LA"):
        image = image.convert("RGBA")  # on the way, so that a palette's transparency is understood and then dropped
    plain = image if image.mode == "RGB" else image.convert("RGB")
    if side:
        plain = ImageOps.fit(plain, (side, side), Image.Resampling.BILINEAR)
    return np.asarray(plain)


def _size(array: Bytes) -> str:
    return f"{array.shape[1]}×{array.shape[0]}"
