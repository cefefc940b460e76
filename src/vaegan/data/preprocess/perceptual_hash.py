"""Perceptual hash: find images that look the same, whatever their bytes.

The hash has 128 bits: for each cell of an 8 x 8 grid, whether it is brighter than its right and its lower neighbor
(a difference hash, "dHash"). After it come the mean colors of 9 x 9 cells, to confirm a match of the bits.

Locality-sensitive hashing finds candidates without comparing all pairs: the bits are split into 7 bands. Hashes that
differ in at most 6 bits have at least one band in common (pigeonhole principle).

The bits of a blank image are noise. Blank images are compared by their colors only, and their bands are ranges of their
mean value.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from PIL import Image

GRID_SIZE = 8
MIN_BRIGHTNESS_STEP = 2
HASH_BITS = 2 * GRID_SIZE * GRID_SIZE
HASH_BYTES = HASH_BITS // 8
HASH_LENGTHS = tuple(HASH_BYTES + channels * (GRID_SIZE + 1) ** 2 for channels in (1, 3))
MAX_HAMMING_DISTANCE = 6
MAX_COLOR_DIFFERENCE = 3.5
INTERCHANGEABLE_COLOR_DIFFERENCE = 0.5
NUM_BANDS = MAX_HAMMING_DISTANCE + 1
_MIN_DISTINCTIVE_BITS = 8
_MAX_BLANK_CONTRAST = 8  # gray levels between the darkest and the brightest cell
_BLANK_BAND_WIDTH = 8  # of two series of ranges that overlap by half, one has both of two values that are near
_BAND_MASKS = [sum(1 << bit for bit in range(band, HASH_BITS, NUM_BANDS)) for band in range(NUM_BANDS)]
_BAND_HASH_MULTIPLIER = 0x9E3779B97F4A7C15F39CC0605CEDC835  # 2**128 / golden ratio: multiplicative hashing
_BAND_HASH_BITS = 56


def perceptual_hash(image: Image.Image) -> bytes:
    """Return the perceptual hash of an image, and its colors.

    Args:
        image: of mode RGB or L.

    Returns:
        16 bytes of hash, then the colors: 81 bytes in all for L, 243 for RGB.
    """
    row_length = GRID_SIZE + 1
    colors = image.resize((row_length, row_length), Image.Resampling.BOX).tobytes()
    gray: Sequence[int] = colors
    if image.mode != "L":
        channels = colors[0::3], colors[1::3], colors[2::3]
        gray = [(299 * red + 587 * green + 114 * blue) // 1000 for red, green, blue in zip(*channels, strict=True)]

    bits = 0
    for start in range(0, GRID_SIZE * row_length, row_length):
        row, next_row = gray[start : start + row_length], gray[start + row_length : start + 2 * row_length]
        for value, right, below in zip(row, row[1:], next_row, strict=False):
            bits = bits << 2 | (value > right + MIN_BRIGHTNESS_STEP) << 1 | (value > below + MIN_BRIGHTNESS_STEP)
    return bits.to_bytes(HASH_BYTES) + colors


def is_blank(phash: bytes) -> bool:
    """Check whether all cells of an image have nearly the same color.

    Args:
        phash: perceptual hash of the image.

    Returns:
        whether the image is blank.
    """
    return all(max(values) - min(values) <= _MAX_BLANK_CONTRAST for values in _color_channels(phash))


def _color_channels(phash: bytes) -> list[bytes]:
    colors = phash[HASH_BYTES:]
    num_channels = 1 if len(colors) == (GRID_SIZE + 1) ** 2 else 3
    return [colors[channel::num_channels] for channel in range(num_channels)]


def is_comparable(phash: bytes) -> bool:
    """Check that images with this hash can be told apart: the bits of all plain gradients are alike.

    Args:
        phash: perceptual hash of the image.

    Returns:
        whether its bits differ enough to compare them, or the image is blank.
    """
    if is_blank(phash):
        return True
    num_ones = _hash_bits(phash).bit_count()
    return _MIN_DISTINCTIVE_BITS <= num_ones <= HASH_BITS - _MIN_DISTINCTIVE_BITS


def is_near_duplicate(phash: bytes, other_phash: bytes) -> bool:
    """Check whether two images look the same.

    Args:
        phash: from `perceptual_hash`.
        other_phash: that of another image.

    Returns:
        whether they do.
    """
    if is_blank(phash) != is_blank(other_phash):
        return False
    if is_blank(phash):
        return _blank_difference(phash, other_phash) <= MAX_COLOR_DIFFERENCE
    distance = (_hash_bits(phash) ^ _hash_bits(other_phash)).bit_count()
    return distance <= MAX_HAMMING_DISTANCE and _color_difference(phash, other_phash) <= MAX_COLOR_DIFFERENCE


def is_interchangeable(phash: bytes, other_phash: bytes) -> bool:
    """Check whether any near duplicate of one image is one of the other, as for adjacent frames.

    Args:
        phash: from `perceptual_hash`.
        other_phash: that of another image.

    Returns:
        whether they are.
    """
    if is_blank(phash) and is_blank(other_phash):
        return _blank_difference(phash, other_phash) <= INTERCHANGEABLE_COLOR_DIFFERENCE
    has_same_bits = phash[:HASH_BYTES] == other_phash[:HASH_BYTES]
    return has_same_bits and _color_difference(phash, other_phash) <= INTERCHANGEABLE_COLOR_DIFFERENCE


def _hash_bits(phash: bytes) -> int:
    return int.from_bytes(phash[:HASH_BYTES])


def _color_difference(phash: bytes, other_phash: bytes) -> float:
    """Return the mean absolute difference of the cells' colors, 0 to 255; 255 where only one image is gray."""
    if len(phash) != len(other_phash):
        return 255.0
    color_pairs = zip(phash[HASH_BYTES:], other_phash[HASH_BYTES:], strict=True)
    return sum(abs(a - b) for a, b in color_pairs) / (len(phash) - HASH_BYTES)


def _blank_difference(phash: bytes, other_phash: bytes) -> float:
    """Return the largest difference of the channels' mean values: the only thing that tells two blank images apart."""
    if len(phash) != len(other_phash):
        return 255.0
    means, other_means = (
        [sum(values) / len(values) for values in _color_channels(colors)] for colors in (phash, other_phash)
    )
    return max(abs(a - b) for a, b in zip(means, other_means, strict=True))


def lsh_bands(phash: bytes) -> Iterator[int]:
    """Return numbers of which two near duplicates share at least one.

    Args:
        phash: from `perceptual_hash`.

    Yields:
        a 59-bit number for each of the 7 bands.
    """
    if is_blank(phash):
        yield from _blank_bands(phash)
        return
    bits = _hash_bits(phash)
    for band, mask in enumerate(_BAND_MASKS):
        band_hash = (bits & mask) * _BAND_HASH_MULTIPLIER % 2**HASH_BITS >> (HASH_BITS - _BAND_HASH_BITS)
        yield band << _BAND_HASH_BITS | band_hash


def _blank_bands(phash: bytes) -> list[int]:
    """Return 7 numbers, of which only two differ, for the mean value of a blank image's cells."""
    colors = phash[HASH_BYTES:]
    mean = sum(colors) / len(colors)
    first, second = int(mean // _BLANK_BAND_WIDTH), int((mean + _BLANK_BAND_WIDTH / 2) // _BLANK_BAND_WIDTH)
    bands = [NUM_BANDS << _BAND_HASH_BITS | first << 1, NUM_BANDS << _BAND_HASH_BITS | second << 1 | 1]
    return bands + bands[:1] * (NUM_BANDS - 2)
