"""When two pictures look the same: a difference hash of 128 bits, and the colours of 9 x 9 fields to confirm it.

The hash says of each of 8 x 8 fields whether it is brighter than its right and its lower neighbour (a "dHash"). Of
5,788 faces of one comic series three pairs have hashes within 6 bits and mean colours within 3.5 of 255: the same
drawing in two frames each. Saving a face again as JPEG of quality 50 moves up to 3 bits and 1.8 levels (90 % of the
faces), as a GIF 2 bits and 1.0 levels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from PIL import Image

FIELDS = 8
MARGIN = 2
BITS = 2 * FIELDS * FIELDS
MAX_BITS = 6
MAX_COLOUR = 3.5
SAME_COLOUR = 0.5
BANDS = MAX_BITS + 1
HASH_BYTES = BITS // 8
_FLAT = 8
_SPREAD = [list(range(band, BITS, BANDS)) for band in range(BANDS)]
_MASKS = [sum(1 << bit for bit in bits) for bits in _SPREAD]


def likeness(picture: Image.Image) -> bytes:
    """The hash and the colours of an RGB or L square: 16 + 81 * C bytes."""
    colours = picture.resize((FIELDS + 1, FIELDS + 1), Image.Resampling.BOX).tobytes()
    grey: Sequence[int] = colours
    if picture.mode != "L":
        channels = colours[0::3], colours[1::3], colours[2::3]
        grey = [(299 * red + 587 * green + 114 * blue) // 1000 for red, green, blue in zip(*channels, strict=True)]
    row = FIELDS + 1
    bits = 0
    for start in range(0, FIELDS * row, row):
        line, below = grey[start : start + row], grey[start + row : start + 2 * row]
        for here, right, lower in zip(line, line[1:], below, strict=False):
            bits = bits << 2 | (here > right + MARGIN) << 1 | (here > lower + MARGIN)
    return bits.to_bytes(HASH_BYTES) + colours


def has_structure(value: bytes) -> bool:
    """Say whether the hash tells anything: that of a flat picture or a plain gradient does not."""
    return _FLAT <= int.from_bytes(value[:HASH_BYTES]).bit_count() <= BITS - _FLAT


def interchangeable(one: bytes, other: bytes) -> bool:
    """Say whether two pictures are so alike that what is like one is like the other: a frame and its neighbour."""
    return one[:HASH_BYTES] == other[:HASH_BYTES] and _colour_difference(one, other) <= SAME_COLOUR


def _colour_difference(one: bytes, other: bytes) -> float:
    """Mean absolute difference of the fields' colours, 0 to 255; 255 where one picture is grey and the other not."""
    if len(one) != len(other):
        return 255.0
    colours = zip(one[HASH_BYTES:], other[HASH_BYTES:], strict=True)
    return sum(abs(a - b) for a, b in colours) / (len(one) - HASH_BYTES)


def alike(one: bytes, other: bytes) -> bool:
    """Say whether two pictures look the same, by their `likeness`."""
    distance = (int.from_bytes(one[:HASH_BYTES]) ^ int.from_bytes(other[:HASH_BYTES])).bit_count()
    return distance <= MAX_BITS and _colour_difference(one, other) <= MAX_COLOUR


def bands(value: bytes) -> Iterator[int]:
    """Yield one number for each of 7 parts of the hash: hashes within 6 bits of each other share at least one."""
    bits = int.from_bytes(value[:HASH_BYTES])
    for band, mask in enumerate(_MASKS):
        part = (bits & mask) * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**BITS
        yield band << 56 | part >> (BITS - 56)
