"""What image files say of themselves: kind, size, channels; and whether all of their bytes are there.

Read before any decoding, so that a small file cannot ask for a large allocation, and because decoders pass off half
an image as whole.
"""

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import BadInputError

_PNG = b"\x89PNG\r\n\x1a\n"
_TIFF_COMPRESSIONS = (1, 5, 8, 32773, 32946)
_TIFF_TYPE_BYTES = {1: 1, 3: 2, 4: 4}
_JPEG_PADDING = 4096
_MAX_TIFF_ENTRIES = 512
_MAX_TIFF_VALUES = 1 << 16


@dataclass(frozen=True)
class ImageHeader:
    """An image's kind (png, jpg, bmp, tif), size in pixels, and whether it is grey."""

    kind: str
    width: int
    height: int
    grey: bool


def read_header(content: bytes, source: Path) -> ImageHeader:
    """The header of a whole PNG, JPEG, BMP or TIFF with 8 bits a channel.

    PNG chunks are followed to the end and their checksums verified; a JPEG must end with its end marker; the pixel
    rows or strips of BMP and TIFF must lie inside the file.

    Raises:
        BadInputError: if the file is none of those, is damaged, or is cut short.
    """
    readers = ((_PNG, png_header), (b"\xff\xd8\xff", _jpeg), (b"BM", _bmp), (b"II*\0", _tiff), (b"MM\0*", _tiff))
    for magic, reader in readers:
        if content.startswith(magic):
            try:
                header = reader(content, source)
            except (struct.error, IndexError):
                raise _bad(source, "length", "a whole file", f"{len(content)} bytes: it is cut short") from None
            if header.width < 1 or header.height < 1:
                raise _bad(source, "size", "at least one pixel", f"{header.width}×{header.height}")
            return header
    raise _bad(source, "first bytes", "a PNG, JPEG, BMP or TIFF image", content[:8].hex(" "))


def _bad(source: Path, field: str, expected: str, found: object) -> BadInputError:
    return BadInputError(source, field=field, expected=expected, found=found, hint="Copy the file from the rig again.")


def png_header(content: bytes, source: Path, *, colours: tuple[int, ...] = (0, 2)) -> ImageHeader:
    """The header of a whole PNG with 8 bits a channel, every chunk's checksum verified.

    Args:
        colours: PNG's colour types that will do: grey (0), RGB (2), palette (3), grey with alpha (4), RGBA (6).

    Raises:
        BadInputError: if it is damaged, or of another kind.
        struct.error, IndexError: if it is cut short.
    """
    position = len(_PNG)
    kinds: list[bytes] = []
    while not kinds or kinds[-1] != b"IEND":
        (length,) = struct.unpack_from(">I", content, position)
        kind = content[position + 4 : position + 8]
        (checksum,) = struct.unpack_from(">I", content, position + 8 + length)
        if zlib.crc32(memoryview(content)[position + 4 : position + 8 + length]) != checksum:
            raise _bad(source, f"chunk {len(kinds)}", "a checksum that fits", f"damage in {kind!r}")
        kinds.append(kind)
        position += 12 + length
    if kinds[0] != b"IHDR" or b"IDAT" not in kinds:
        raise _bad(source, "chunks", "IHDR first, then IDAT", b" ".join(kinds[:8]))
    width, height, depth, colour = struct.unpack_from(">IIBB", content, len(_PNG) + 8)
    if depth != 8 or colour not in colours:
        names = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGBA"}
        expected = " or ".join(f"{names[one]} ({one})" for one in colours)
        raise _bad(source, "IHDR", f"8 bits, {expected}", f"{depth} bits, colour type {colour}")
    return ImageHeader("png", width, height, grey=colour in (0, 4))


def _jpeg(content: bytes, source: Path) -> ImageHeader:
    if not content[-_JPEG_PADDING:].rstrip(b"\0").endswith(b"\xff\xd9"):
        raise _bad(source, "last bytes", "JPEG's end marker", "none: the file is cut short")
    position = 2
    while True:
        while content[position] == 0xFF and content[position + 1] == 0xFF:  # fill bytes
            position += 1
        marker, code = content[position], content[position + 1]
        if marker != 0xFF or code in (0xD8, 0xD9, 0xDA):
            raise _bad(source, f"byte {position}", "a frame header before the image", hex(code))
        (length,) = struct.unpack_from(">H", content, position + 2)
        if code in (0xC0, 0xC1, 0xC2):
            depth, height, width, components = struct.unpack_from(">BHHB", content, position + 4)
            if depth != 8 or components not in (1, 3):
                raise _bad(source, "frame header", "8 bits, 1 or 3 channels", f"{depth} bits, {components} channels")
            return ImageHeader("jpg", width, height, grey=components == 1)
        if 0xC3 <= code <= 0xCF and code not in (0xC4, 0xC8, 0xCC):
            raise _bad(source, "frame header", "baseline or progressive JPEG", f"marker {code:#x}")
        position += 2 + length


def _bmp(content: bytes, source: Path) -> ImageHeader:
    (offset,) = struct.unpack_from("<I", content, 10)
    header_bytes, width, height, _, bits, compression = struct.unpack_from("<IiiHHI", content, 14)
    (colours,) = struct.unpack_from("<I", content, 46)
    if header_bytes < 40 or bits not in (8, 24, 32) or compression not in (0, 3) or (compression == 3 and bits != 32):
        raise _bad(source, "header", "an uncompressed BMP of 8, 24 or 32 bits", f"{bits} bits, kind {compression}")
    row_bytes = (max(width, 0) * bits + 31) // 32 * 4
    needed = offset + row_bytes * abs(height)
    if len(content) < needed:
        raise _bad(source, "length", f"{needed} bytes", f"{len(content)}: the file is cut short")
    grey = False
    if bits == 8:
        count = colours or 256
        palette = content[14 + header_bytes : 14 + header_bytes + 4 * count]
        if count > 256 or len(palette) < 4 * count:
            raise _bad(source, "palette", "at most 256 colours", count)
        grey = palette[0::4] == palette[1::4] == palette[2::4]
    return ImageHeader("bmp", width, abs(height), grey=grey)


def _tiff(content: bytes, source: Path) -> ImageHeader:
    order = "<" if content.startswith(b"II") else ">"
    (start,) = struct.unpack_from(f"{order}I", content, 4)
    (count,) = struct.unpack_from(f"{order}H", content, start)
    if count > _MAX_TIFF_ENTRIES:
        raise _bad(source, "directory", f"at most {_MAX_TIFF_ENTRIES} tags", count)
    tags = dict(_tiff_tag(content, order, start + 2 + 12 * index) for index in range(count))
    if struct.unpack_from(f"{order}I", content, start + 2 + 12 * count)[0] != 0:
        raise _bad(source, "directory", "one page", "several")
    width, height = _first(tags, 256, 0), _first(tags, 257, 0)
    bits, photometric = tags.get(258, (1,)), _first(tags, 262, -1)
    samples, compression = _first(tags, 277, 1), _first(tags, 259, 1)
    plain = (samples, photometric) in ((1, 1), (3, 2)) and set(bits) == {8} and len(bits) == samples
    if not plain or compression not in _TIFF_COMPRESSIONS or _first(tags, 339, 1) != 1 or _first(tags, 284, 1) != 1:
        found = f"{samples} channels of {bits} bits, photometric {photometric}, compression {compression}"
        raise _bad(source, "tags", "8 bits, grey or RGB, interleaved, uncompressed or LZW, ZIP or PackBits", found)
    _tiff_pixels_present(content, source, tags, width * height * samples if compression == 1 else 0)
    return ImageHeader("tif", width, height, grey=samples == 1)


def _tiff_tag(content: bytes, order: str, position: int) -> tuple[int, tuple[int, ...]]:
    """A tag and its whole-number values; tags of other types come back empty."""
    tag, kind, count = struct.unpack_from(f"{order}HHI", content, position)
    width = _TIFF_TYPE_BYTES.get(kind)
    if width is None or count > _MAX_TIFF_VALUES:
        return tag, ()
    where = position + 8
    if width * count > 4:
        (where,) = struct.unpack_from(f"{order}I", content, where)
    return tag, struct.unpack_from(f"{order}{count}{ {1: 'B', 2: 'H', 4: 'I'}[width] }", content, where)


def _first(tags: dict[int, tuple[int, ...]], tag: int, otherwise: int) -> int:
    values = tags.get(tag, ())
    return values[0] if values else otherwise


def _tiff_pixels_present(content: bytes, source: Path, tags: dict[int, tuple[int, ...]], least: int) -> None:
    offsets, lengths = (tags.get(273, ()), tags.get(279, ())) if 273 in tags else (tags.get(324, ()), tags.get(325, ()))
    whole = offsets and len(offsets) == len(lengths)
    if not whole or any(offset + length > len(content) for offset, length in zip(offsets, lengths, strict=True)):
        raise _bad(source, "strips", "pixel data inside the file", f"{len(content)} bytes: the file is cut short")
    if sum(lengths) < least:
        raise _bad(source, "strips", f"{least} bytes of pixels", sum(lengths))
