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

from vaegan.data.memmap import Pictures, some_of
from vaegan.errors import VaeganError
from vaegan.inference.model import Model
from vaegan.report import html_page
from vaegan.run_dir import STEP, Run
from vaegan.utils.files import inside
from vaegan.utils.images import grid, png_bytes, to_float, to_pil

PREVIEWS = 16
SIDE = 640
LARGEST = 64_000_000
AXES = 8
REACH = 3.0
STOPS = 9
SHOWN = 8
NEAR = 4
ROWS = 50_000
COARSE = 16
"""Side in pixels of the small pictures that neighbours are looked for in."""


def jpeg(picture: Image.Image) -> bytes:
    """A picture as a small JPEG, at most 640 pixels wide."""
    if picture.width > SIDE:
        picture = picture.resize((SIDE, max(1, round(picture.height * SIDE / picture.width))), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=82, optimize=True)
    return buffer.getvalue()


def _shrunk(path: Path) -> bytes | None:
    """A preview as JPEG; None where it is no picture, or one too large to be a preview."""
    try:
        with warnings.catch_warnings(), Image.open(path) as picture:
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            if picture.width * picture.height > LARGEST:
                return None
            return jpeg(picture.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


class Previews:
    """The previews of a run as small pictures; each is read once."""

    def __init__(self, run: Run) -> None:
        """Read nothing yet."""
        self.run, self.kept = run, dict[tuple[str, int], bytes | None]()

    def frames(self, batch: int, kind: str = STEP, most: int = PREVIEWS) -> list[tuple[str, bytes]]:
        """At most `most` of a kind with what each shows, evenly spaced, first and last always; `batch` a step."""
        steps = self.run.previews(kind)
        found = list(steps)
        if len(found) > most:
            found = [found[k * (len(found) - 1) // (most - 1)] for k in range(most)]
        frames = []
        for path in found:
            content = self._read(path)
            if content is not None:
                frames.append((f"step {steps[path]:,}, {steps[path] * batch:,} pictures", content))
        return frames

    def _read(self, path: Path) -> bytes | None:
        try:
            key = (path.name, inside(path, self.run.path).stat().st_mtime_ns)
        except (OSError, VaeganError):
            return None
        if key not in self.kept:
            self.kept[key] = _shrunk(path)
        return self.kept[key]


def _sheet(pictures: Tensor, columns: int) -> bytes:
    return png_bytes(to_pil(grid(pictures, columns)))


def _strip(pictures: Tensor, padding: int = 2) -> bytes:
    return jpeg(to_pil(grid(pictures, len(pictures), padding)))


def _columns(model: Model) -> int:
    """Pictures in a row of a sheet, so that no sheet has much over a million pixels."""
    return 8 if model.weights.config.size <= 64 else 4


def samples(model: Model) -> str:
    """A square sheet of new faces, not compressed with loss: fine texture is to be judged."""
    columns = _columns(model)
    said = f"Samples of seeds 0 to {columns**2 - 1}"
    return html_page.picture(_sheet(model.sample(columns**2), columns), said, pixels=True)


def reconstructions(model: Model, pictures: Pictures) -> str:
    """Pictures above what the model makes of them, as HTML."""
    columns = min(_columns(model), len(pictures))
    shown = pictures[: min(2, max(1, len(pictures) // columns)) * columns]
    decoded = model.reconstruct(shown)
    parts = zip(torch.split(shown, columns), torch.split(decoded, columns), strict=True)
    rows = torch.cat([row for pair in parts for row in pair])
    return html_page.picture(_sheet(rows, columns), "Pictures, and below each row what the model makes of it", True)


def sweeps(model: Model) -> str:
    """A strip for each leading latent axis, from -3 to 3 with all others at 0, as HTML."""
    count = min(AXES, model.latent_dim)
    stops = torch.linspace(-REACH, REACH, STOPS)
    latents = torch.zeros(count, STOPS, model.latent_dim)
    for axis in range(count):
        latents[axis, :, axis] = stops
    figures = []
    for axis, row in enumerate(torch.split(model.decode(latents.flatten(0, 1)), STOPS)):
        said = f"Axis {axis + 1} from -{REACH:g} to {REACH:g}"
        figures.append(
            f'<figure class="strip">{html_page.picture(_strip(row), said)}<figcaption>{said}</figcaption></figure>'
        )
    return f'<div class="two">{"".join(figures)}</div>'


def _coarse(pictures: Tensor) -> Tensor:
    """uint8 [N, C, S, S] -> float [N, C * 16 * 16], what is seen from afar."""
    parts = [F.adaptive_avg_pool2d(to_float(part), COARSE).flatten(1) for part in torch.split(pictures, 512)]
    return torch.cat(parts)


def closest(queries: Tensor, train: Tensor, count: int = NEAR) -> tuple[Tensor, Tensor]:
    """The `count` nearest of the training pictures or their mirrors, for each query: [N, count, C, S, S].

    Distances are root mean squared differences, float [N, count], of the pictures at 16x16 pixels in [-1, 1]. Pictures
    are uint8 [.., C, S, S].
    """
    keys, found, distances = _coarse(train), [], []
    both = torch.cat([keys, keys.view(len(keys), -1, COARSE, COARSE).flip(-1).flatten(1)])
    wanted = _coarse(queries)
    between = torch.cdist(wanted, both) / both.shape[1] ** 0.5
    for row in between:
        order = row.argsort()
        own = order % len(train)
        first = [k for k in range(min(len(order), 2 * count)) if own[k] not in own[:k]][:count]
        rows = order[first]
        pictures = [train[r % len(train)].flip(-1) if r >= len(train) else train[r] for r in rows.tolist()]
        found.append(torch.stack(pictures))
        distances.append(row[rows])
    return torch.stack(found), torch.stack(distances)


def neighbours(model: Model, train: Pictures) -> str:
    """Some samples, each beside the training pictures that look most like it, as HTML."""
    asked: Sequence[int] = range(SHOWN)
    pictures = torch.cat(list(model.batches(asked)))
    searched = some_of(train, ROWS)
    near, distances = closest(pictures, searched)
    figures = []
    for seed, picture, row, far in zip(asked, pictures, near, distances, strict=True):
        caption = html.escape(f"Seed {seed}, and the training pictures nearest to it (the first at {far[0]:.2f})")
        mine = html_page.picture(_strip(picture[None], 0), f"Sample of seed {seed}")
        theirs = html_page.picture(_strip(row, 0), f"Its {len(row)} nearest training pictures")
        figures.append(f'<figure class="near">{mine}{theirs}<figcaption>{caption}</figcaption></figure>')
    few = "" if len(searched) == len(train) else f" Looked for among {len(searched):,} of {len(train):,} pictures."
    said = (
        f"Nearest at {COARSE}x{COARSE} pixels, mirrors included; the number is the root mean squared difference"
        f" (black to white is 2).{few} A sample that equals its neighbour is a memory, not a new face."
    )
    return html_page.paragraph(said, soft=True) + f'<div class="two">{"".join(figures)}</div>'
