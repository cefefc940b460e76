"""Images for a run's report: previews, samples, reconstructions, latent traversals, neighbors."""

from __future__ import annotations

import html
import io
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from vaegan.data.memmap import ImageArray, strided_subset
from vaegan.errors import VaeganError
from vaegan.inference.attributes import Attribute
from vaegan.inference.class_choice import for_most_frequent_class
from vaegan.inference.edit import Change, edit_latents
from vaegan.inference.model import Model
from vaegan.report import html_page
from vaegan.run_dir import STEP_PREVIEW, RunDir
from vaegan.utils.files import ensure_within, open_regular
from vaegan.utils.images import make_grid, png_bytes, to_float, to_pil

MAX_PREVIEWS = 16
MAX_JPEG_WIDTH = 640
MAX_PREVIEW_PIXELS = 64_000_000
TRAVERSAL_DIMS = 8
TRAVERSAL_RANGE = 3.0
TRAVERSAL_STEPS = 9
NUM_QUERY_SAMPLES = 8
NEIGHBORS_PER_SAMPLE = 4
MAX_SEARCHED_IMAGES = 50_000
SEARCH_SIZE = 16
"""Images are compared at this size in pixels to find nearest neighbors."""


def jpeg_bytes(image: Image.Image) -> bytes:
    """Encode an image as JPEG, at most MAX_JPEG_WIDTH wide.

    Args:
        image: the image.

    Returns:
        the file's bytes.
    """
    if image.width > MAX_JPEG_WIDTH:
        height = max(1, round(image.height * MAX_JPEG_WIDTH / image.width))
        image = image.resize((MAX_JPEG_WIDTH, height), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=82, optimize=True)
    return buffer.getvalue()


def _preview_jpeg(path: Path) -> bytes | None:
    """Return a preview as JPEG; None if the file is not an image or too large to be a preview."""
    try:
        with warnings.catch_warnings(), open_regular(path) as file, Image.open(file) as image:
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            if image.width * image.height > MAX_PREVIEW_PIXELS:
                return None
            return jpeg_bytes(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


class PreviewCache:
    """Previews of a run as JPEGs; each file is read once."""

    def __init__(self, run_dir: RunDir) -> None:
        self.run_dir, self.jpegs = run_dir, dict[tuple[str, int], bytes | None]()

    def frames(
        self, batch_size: int, kind: str = STEP_PREVIEW, max_frames: int = MAX_PREVIEWS
    ) -> list[tuple[str, bytes]]:
        """Return evenly spaced previews of a kind, the first and the last included.

        Args:
            batch_size: images per step, for the descriptions.
            kind: STEP_PREVIEW or DRIFT_PREVIEW.
            max_frames: largest number of previews, at least 2.

        Returns:
            pairs of description and JPEG.
        """
        steps = self.run_dir.previews(kind)
        paths = list(steps)
        if len(paths) > max_frames:
            paths = [paths[k * (len(paths) - 1) // (max_frames - 1)] for k in range(max_frames)]
        return [
            (f"step {steps[path]:,}, {steps[path] * batch_size:,} images", jpeg)
            for path in paths
            if (jpeg := self._cached_jpeg(path)) is not None
        ]

    def _cached_jpeg(self, path: Path) -> bytes | None:
        try:
            key = (path.name, ensure_within(path, self.run_dir.path).stat().st_mtime_ns)
        except (OSError, VaeganError):
            return None
        if key not in self.jpegs:
            self.jpegs[key] = _preview_jpeg(path)
        return self.jpegs[key]


def _grid_png(images: Tensor, columns: int) -> bytes:
    return png_bytes(to_pil(make_grid(images, columns)))


def _row_jpeg(images: Tensor, padding: int = 2) -> bytes:
    return jpeg_bytes(to_pil(make_grid(images, len(images), padding)))


def _grid_columns(model: Model) -> int:
    """Return a number of columns with which a square grid has about a million pixels at most."""
    return 8 if model.info.config.size <= 64 else 4


def sample_grid(model: Model) -> str:
    """Return a grid of samples, square or a row for each class. PNG: JPEG changes the fine texture.

    Args:
        model: the model.

    Returns:
        HTML.
    """
    columns = _grid_columns(model)
    if not model.classes:
        alt = f"Samples of seeds 0 to {columns**2 - 1}"
        return html_page.image_tag(_grid_png(model.sample(columns**2), columns), alt, is_pixelated=True)
    images = torch.cat([model.sample(columns, class_=name) for name in model.classes])
    rows = f"Rows: {', '.join(model.classes)}. Columns: seeds 0 to {columns - 1}."
    grid = html_page.image_tag(_grid_png(images, columns), f"Samples of each class. {rows}", is_pixelated=True)
    return grid + html_page.paragraph(rows, is_muted=True)


def reconstruction_grid(model: Model, images: ImageArray) -> str:
    """Return one or two rows of images, each above the row of their reconstructions.

    Args:
        model: a model with an encoder.
        images: uint8 [N, C, S, S], N at least 1.

    Returns:
        HTML.
    """
    columns = min(_grid_columns(model), len(images))
    num_rows = min(2, max(1, len(images) // columns))
    originals = images[: num_rows * columns]
    reconstructions = model.reconstruct(originals)
    row_pairs = zip(torch.split(originals, columns), torch.split(reconstructions, columns), strict=True)
    rows = torch.cat([row for pair in row_pairs for row in pair])
    alt = "Images, and below each row their reconstructions"
    return html_page.image_tag(_grid_png(rows, columns), alt, is_pixelated=True)


def latent_traversals(model: Model) -> str:
    """Return a strip for each of the leading latents, which varies from -3 to 3 while all others are 0.

    Args:
        model: the model.

    Returns:
        HTML.
    """
    count = min(TRAVERSAL_DIMS, model.latent_dim)
    latents = torch.zeros(count, TRAVERSAL_STEPS, model.latent_dim)
    for dim in range(count):
        latents[dim, :, dim] = torch.linspace(-TRAVERSAL_RANGE, TRAVERSAL_RANGE, TRAVERSAL_STEPS)
    strips = torch.split(for_most_frequent_class(model).decode(latents.flatten(0, 1)), TRAVERSAL_STEPS)
    figures = []
    for dim, strip in enumerate(strips):
        caption = f"Latent {dim + 1} from -{TRAVERSAL_RANGE:g} to {TRAVERSAL_RANGE:g}"
        image = html_page.image_tag(_row_jpeg(strip), caption)
        figures.append(f'<figure class="strip">{image}<figcaption>{caption}</figcaption></figure>')
    return f'<div class="side-by-side">{"".join(figures)}</div>'


def attribute_strips(model: Model, attributes: Sequence[Attribute]) -> str:
    """Return a strip for each attribute, which goes from off to on in the face of seed 0.

    Args:
        model: a model with attributes.
        attributes: those to show.

    Returns:
        HTML.
    """
    model = for_most_frequent_class(model)
    face = model.latents_from_seeds([0])
    figures = []
    for attribute in attributes:
        goals = torch.linspace(attribute.off_score, attribute.on_score, TRAVERSAL_STEPS).tolist()
        latents = [edit_latents(model.attributes, face, [Change(attribute, 0, goal)]) for goal in goals]
        caption = f"{attribute.title} from off to on"
        image = html_page.image_tag(_row_jpeg(model.decode(torch.cat(latents))), caption)
        figures.append(f'<figure class="strip">{image}<figcaption>{html.escape(caption)}</figcaption></figure>')
    return f'<div class="side-by-side">{"".join(figures)}</div>'


def _downscaled_pixels(images: Tensor) -> Tensor:
    """uint8 [N, C, S, S] -> float [N, C, 16, 16] in [-1, 1]."""
    return torch.cat([F.adaptive_avg_pool2d(to_float(part), SEARCH_SIZE) for part in torch.split(images, 512)])


def nearest_training_images(
    queries: Tensor, train_images: Tensor, count: int = NEIGHBORS_PER_SAMPLE
) -> tuple[Tensor, Tensor]:
    """Find the training images nearest to each query; each once, as it is or mirrored.

    Args:
        queries: uint8 [Q, C, S, S].
        train_images: uint8 [N, C, S, S].
        count: number of neighbors per query.

    Returns:
        Images uint8 [Q, count, C, S, S], nearest first, and float [Q, count], the root mean squared difference at 16x16
            pixels in [-1, 1].
    """
    num_train = len(train_images)
    keys = _downscaled_pixels(train_images)
    keys = torch.cat([keys, keys.flip(-1)]).flatten(1)  # row i + num_train is the mirrored image i
    distances = torch.cdist(_downscaled_pixels(queries).flatten(1), keys) / keys.shape[1] ** 0.5
    images, nearest_distances = [], []
    for query_distances in distances:
        # every image has two rows, so the first 2 * count rows hold at least `count` different images
        rows_by_image: dict[int, int] = {}
        for row in query_distances.argsort()[: 2 * count].tolist():
            rows_by_image.setdefault(row % num_train, row)
        rows = list(rows_by_image.values())[:count]
        images.append(torch.stack([image_or_mirror(train_images, row) for row in rows]))
        nearest_distances.append(query_distances[rows])
    return torch.stack(images), torch.stack(nearest_distances)


def image_or_mirror(images: Tensor, row: int) -> Tensor:
    """Return image `row`, or the mirrored image `row` - N for rows from N on.

    Args:
        images: [N, C, S, S].
        row: 0 to 2 N - 1.

    Returns:
        [C, S, S].
    """
    return images[row] if row < len(images) else images[row - len(images)].flip(-1)


def nearest_neighbor_figures(model: Model, train_images: ImageArray) -> str:
    """Return some samples, each beside its nearest training images.

    Args:
        model: the model.
        train_images: uint8 [N, C, S, S].

    Returns:
        HTML.
    """
    samples = model.sample(NUM_QUERY_SAMPLES)
    searched = strided_subset(train_images, MAX_SEARCHED_IMAGES)
    neighbors, distances = nearest_training_images(samples, searched)
    figures = []
    for seed, sample in enumerate(samples):
        sample_image = html_page.image_tag(_row_jpeg(sample[None], 0), f"Sample of seed {seed}")
        row = html_page.image_tag(_row_jpeg(neighbors[seed], 0), f"Its {len(neighbors[seed])} nearest training images")
        caption = html.escape(f"Seed {seed} and its nearest training images, the first at {distances[seed, 0]:.2f}")
        figures.append(f'<figure class="neighbors">{sample_image}{row}<figcaption>{caption}</figcaption></figure>')
    is_subset = len(searched) < len(train_images)
    subset = f" Searched {len(searched):,} of {len(train_images):,} images." if is_subset else ""
    note = (
        f"Nearest at {SEARCH_SIZE}x{SEARCH_SIZE} pixels, mirrored images included. The number is the root mean squared"
        f" difference (between black and white it is 2).{subset} A sample that equals its neighbor is memorized."
    )
    return html_page.paragraph(note, is_muted=True) + f'<div class="side-by-side">{"".join(figures)}</div>'
