"""Sound pixels of a file whose metadata may be damaged: EXIF, colour profiles, XMP, comments and other text.

`predict.py` on a model card holds the source of these functions, so it reads a file exactly as training did.
"""

import inspect
import zlib
from io import BytesIO
from pathlib import Path
from typing import Literal

from PIL import Image


def opened(file: str | Path) -> Image.Image:
    """An image with its pixels loaded; where damaged metadata prevent that, they are left out."""
    try:
        image = Image.open(file)
        image.load()
    except Exception as error:
        try:
            image = Image.open(BytesIO(without_metadata(Path(file).read_bytes())))
            image.load()
        except Exception:
            raise error from None
    return image


def upright(image: Image.Image) -> Image.Image:
    """The image turned as its EXIF orientation says, where that can be read."""
    try:
        turned = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}.get(image.getexif().get(0x0112, 1))
    except Exception:
        return image
    return image if turned is None else image.transpose(Image.Transpose(turned))


def without_metadata(content: bytes) -> bytes:
    """A PNG, JPEG, WebP or TIFF file without what says nothing of its pixels or their orientation."""
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return png_pixels(content)
    if content.startswith(b"\xff\xd8"):
        return jpeg_pixels(content)
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return webp_pixels(content)
    return tiff_pixels(content) if content[:4] in (b"II*\x00", b"MM\x00*") else content


def png_pixels(content: bytes) -> bytes:
    """The chunks of a PNG file that hold its pixels, and sound EXIF data."""
    kept, at = content[:8], 8
    while at < len(content):
        end = at + 12 + int.from_bytes(content[at : at + 4], "big")
        kind, check = content[at + 4 : at + 8], int.from_bytes(content[end - 4 : end], "big")
        is_sound_exif = kind == b"eXIf" and zlib.crc32(content[at + 4 : end - 4]) == check
        if is_sound_exif or kind in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"):
            kept += content[at:end]
        at = end
    return kept


def jpeg_pixels(content: bytes) -> bytes:
    """A JPEG file without profiles and comments; EXIF stays, and JFIF and Adobe's segment where they are whole."""
    kept, at, least = content[:2], 2, {0xE0: 16, 0xEE: 14}
    while content[at : at + 1] == b"\xff" and content[at + 1] != 0xDA:  # where the compressed pixels begin
        end = at + 2 + int.from_bytes(content[at + 2 : at + 4], "big")
        is_told = 0xE2 <= content[at + 1] <= 0xED or content[at + 1] in (0xEF, 0xFE)
        if not is_told and end - at - 2 >= least.get(content[at + 1], 0):
            kept += content[at:end]
        at = end
    return kept + content[at:]


def webp_pixels(content: bytes) -> bytes:
    """The chunks of a WebP file that hold its pixels, and EXIF data that is whole."""
    kept, at = b"", 12
    while at + 8 <= len(content):
        end = at + 8 + int.from_bytes(content[at + 4 : at + 8], "little")
        end, kind = end + end % 2, content[at : at + 4]
        if kind in (b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF") or (kind == b"EXIF" and end <= len(content)):
            kept += content[at:end]
        at = end
    return b"RIFF" + (4 + len(kept)).to_bytes(4, "little") + b"WEBP" + kept


def tiff_pixels(content: bytes) -> bytes:
    """A TIFF file whose first table of tags holds only those that its pixels need."""
    order: Literal["little", "big"] = "little" if content.startswith(b"I") else "big"
    start = int.from_bytes(content[4:8], order)
    count = int.from_bytes(content[start : start + 2], order)
    needed = {*range(254, 267), 273, 277, 278, 279, 284, 292, 293, 317, 320, *range(322, 326), 338, 339, 347, 530}
    entries = [content[at : at + 12] for at in range(start + 2, start + 2 + 12 * count, 12)]
    turn = (274).to_bytes(2, order) + (3).to_bytes(2, order) + (1).to_bytes(4, order)  # one short number
    kept = [entry for entry in entries if int.from_bytes(entry[:2], order) in needed or entry.startswith(turn)]
    table = len(kept).to_bytes(2, order) + b"".join(kept) + bytes(4)
    return content[:start] + table + content[start + len(table) :]


def source() -> str:
    """The functions above as they stand here."""
    functions = (opened, upright, without_metadata, png_pixels, jpeg_pixels, webp_pixels, tiff_pixels)
    return "\n\n".join(inspect.getsource(function) for function in functions)
