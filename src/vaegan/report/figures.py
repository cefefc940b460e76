"""What a run's model draws, as parts of a page: previews, samples, reconstructions, sweeps, neighbours."""

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
from vaegan.inference.model import Model
from vaegan.report import html_page
from vaegan.run_dir import STEP_PREVIEW, RunDir
from vaegan.utils.files import ensure_within
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
"""Side in pixels of the small pictures that neighbours are looked for in."""


def jpeg_bytes(image: Image.Image) -> bytes:
    """A picture as a small JPEG, at most 640 pixels wide."""
    if image.width > MAX_JPEG_WIDTH:
        image = image.resize(
            (MAX_JPEG_WIDTH, max(1, round(image.height * MAX_JPEG_WIDTH / image.width))), Image.Resampling.LANCZOS
        )
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=82, optimize=True)
    return buffer.getvalue()


def _preview_jpeg(path: Path) -> bytes | None:
    """A preview as JPEG; None where it is no picture, or one too large to be a preview."""
    try:
        with warnings.catch_warnings(), Image.open(path) as picture:
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            if picture.width * picture.height > MAX_PREVIEW_PIXELS:
                return None
            return jpeg_bytes(picture.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


class PreviewCache:
    """The previews of a run as small pictures; each is read once."""

    def __init__(self, run: RunDir) -> None:
        """Read nothing yet."""
        self.run, self.jpegs = run, dict[tuple[str, int], bytes | None]()

    def frames(
        self, batch_size: int, kind: str = STEP_PREVIEW, max_frames: int = MAX_PREVIEWS
    ) -> list[tuple[str, bytes]]:
        """At most `most` of a kind with what each shows, evenly spaced, first and last always; `batch` a step."""
        steps = self.run.previews(kind)
        found = list(steps)
        if len(found) > max_frames:
            found = [found[k * (len(found) - 1) // (max_frames - 1)] for k in range(max_frames)]
        frames = []
        for path in found:
            content = self._cached_jpeg(path)
            if content is not None:
                frames.append((f"step {steps[path]:,}, {steps[path] * batch_size:,} pictures", content))
        return frames

    def _cached_jpeg(self, path: Path) -> bytes | None:
        try:
            key = (path.name, ensure_within(path, self.run.path).stat().st_mtime_ns)
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
    """Pictures in a row of a sheet, so that no sheet has much over a million pixels."""
    return 8 if model.info.config.size <= 64 else 4


def sample_grid(model: Model) -> str:
    """A square sheet of new faces, not compressed with loss: fine texture is to be judged."""
    columns = _grid_columns(model)
    said = f"Samples of seeds 0 to {columns**2 - 1}"
    return html_page.image_tag(_grid_png(model.sample(columns**2), columns), said, is_pixelated=True)


def reconstruction_grid(model: Model, images: ImageArray) -> str:
    """Pictures above what the model makes of them, as HTML."""
    columns = min(_grid_columns(model), len(images))
    shown = images[: min(2, max(1, len(images) // columns)) * columns]
    decoded = model.reconstruct(shown)
    parts = zip(torch.split(shown, columns), torch.split(decoded, columns), strict=True)
    rows = torch.cat([row for pair in parts for row in pair])
    return html_page.image_tag(
        _grid_png(rows, columns), "Pictures, and below each row what the model makes of it", True
    )


def latent_traversals(model: Model) -> str:
    """A strip for each leading latent axis, from -3 to 3 with all others at 0, as HTML."""
    count = min(TRAVERSAL_DIMS, model.latent_dim)
    stops = torch.linspace(-TRAVERSAL_RANGE, TRAVERSAL_RANGE, TRAVERSAL_STEPS)
    latents = torch.zeros(count, TRAVERSAL_STEPS, model.latent_dim)
    for axis in range(count):
        latents[axis, :, axis] = stops
    figures = []
    for axis, row in enumerate(torch.split(model.decode(latents.flatten(0, 1)), TRAVERSAL_STEPS)):
        said = f"Axis {axis + 1} from -{TRAVERSAL_RANGE:g} to {TRAVERSAL_RANGE:g}"
        figures.append(
            f'<figure class="strip">{html_page.image_tag(_row_jpeg(row), said)}<figcaption>{said}</figcaption></figure>'
        )
    return f'<div class="two">{"".join(figures)}</div>'


def _downscaled_pixels(images: Tensor) -> Tensor:
    """uint8 [N, C, S, S] -> float [N, C * 16 * 16], what is seen from afar."""
    parts = [F.adaptive_avg_pool2d(to_float(part), SEARCH_SIZE).flatten(1) for part in torch.split(images, 512)]
    return torch.cat(parts)


def nearest_training_images(
    queries: Tensor, train_images: Tensor, count: int = NEIGHBORS_PER_SAMPLE
) -> tuple[Tensor, Tensor]:
    """The `count` nearest of the training pictures or their mirrors, for each query: [N, count, C, S, S].

    Distances are root mean squared differences, float [N, count], of the pictures at 16x16 pixels in [-1, 1]. Pictures
    are uint8 [.., C, S, S].
    """
    keys, found, distances = _downscaled_pixels(train_images), [], []
    both = torch.cat([keys, keys.view(len(keys), -1, SEARCH_SIZE, SEARCH_SIZE).flip(-1).flatten(1)])
    wanted = _downscaled_pixels(queries)
    between = torch.cdist(wanted, both) / both.shape[1] ** 0.5
    for row in between:
        order = row.argsort()
        own = order % len(train_images)
        first = [k for k in range(min(len(order), 2 * count)) if own[k] not in own[:k]][:count]
        rows = order[first]
        pictures = [
            train_images[r % len(train_images)].flip(-1) if r >= len(train_images) else train_images[r]
            for r in rows.tolist()
        ]
        found.append(torch.stack(pictures))
        distances.append(row[rows])
    return torch.stack(found), torch.stack(distances)


def nearest_neighbor_figures(model: Model, train_images: ImageArray) -> str:
    """Some samples, each beside the training pictures that look most like it, as HTML."""
    asked: Sequence[int] = range(NUM_QUERY_SAMPLES)
    pictures = torch.cat(list(model.sample_batches(asked)))
    searched = strided_subset(train_images, MAX_SEARCHED_IMAGES)
    near, distances = nearest_training_images(pictures, searched)
    figures = []
    for seed, picture, row, far in zip(asked, pictures, near, distances, strict=True):
        caption = html.escape(f"Seed {seed}, and the training pictures nearest to it (the first at {far[0]:.2f})")
        mine = html_page.image_tag(_row_jpeg(picture[None], 0), f"Sample of seed {seed}")
        theirs = html_page.image_tag(_row_jpeg(row, 0), f"Its {len(row)} nearest training pictures")
        figures.append(f'<figure class="near">{mine}{theirs}<figcaption>{caption}</figcaption></figure>')
    few = (
        ""
        if len(searched) == len(train_images)
        else f" Looked for among {len(searched):,} of {len(train_images):,} pictures."
    )
    said = (
        f"Nearest at {SEARCH_SIZE}x{SEARCH_SIZE} pixels, mirrors included; the number is the root mean squared difference"
        f" (black to white is 2).{few} A sample that equals its neighbour is a memory, not a new face."
    )
    return html_page.paragraph(said, is_muted=True) + f'<div class="two">{"".join(figures)}</div>'
