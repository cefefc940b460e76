"""What is measured on: drawn faces as PNGs and as a prepared set, large JPEGs, untrained networks, generated sets.

python -m benchmarks.speed.material NAME PLACE OPTIONS makes one piece; `Material` starts that where a row needs one.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.speed.sides import ROOT, environment

DISTINCT = 256


def faces(place: Path, count: int, size: int) -> None:
    """`count` PNGs for an image folder, and the same as a prepared set; so many drawn ones, each of them repeated."""
    from vaegan.demo.faces import draw_face, random_face
    from vaegan.utils.images import from_pil, png_bytes

    folder = place / "folder" / "faces"
    folder.mkdir(parents=True)
    drawn = [draw_face(random_face(0, number)).resize((size, size)) for number in range(min(count, DISTINCT))]
    files, rows = [png_bytes(face) for face in drawn], [from_pil(face).numpy().tobytes() for face in drawn]
    for number in range(count):
        (folder / f"{number:05d}.png").write_bytes(files[number % len(files)])
    _write(place / "set", [rows[number % len(rows)] for number in range(count)], size)


def _write(place: Path, rows: Any, size: int, count: int = 0) -> None:
    from vaegan.data.dataset import write_dataset, write_manifest

    place.mkdir()
    count = count or len(rows)
    splits = bytes(number % 10 == 9 for number in range(count))
    write_dataset(place, rows, splits, (3, size, size), {})
    write_manifest(place, [])


def generated(place: Path, count: int, size: int) -> None:
    """A prepared set of `count` pictures of noise, all different."""
    noise = random.Random(0)
    place.mkdir(parents=True)
    block = noise.randbytes(2**24)
    length = 3 * size * size
    starts = (noise.randrange(len(block) - length) for _ in range(count))
    _write(place / "set", (block[start : start + length] for start in starts), size, count)


def jpegs(place: Path, count: int) -> None:
    """Drawn faces of 1024 pixels with some of the grain of photographs."""
    from benchmarks.preprocess_speed import draw

    place.mkdir(parents=True)
    draw(place / "jpegs", count, 0.08)


def networks(place: Path, size: int, width: int, latent_dim: int) -> None:
    """An untrained generator as vaegan publishes it, and the plain one's weights."""
    from safetensors.torch import save_file

    from benchmarks.speed.plain import Generator, weights_init
    from vaegan.checkpoint import save_model
    from vaegan.config.model_config import ModelConfig
    from vaegan.models.discriminator import GANForInference
    from vaegan.models.prior import Prior
    from vaegan.models.vae import Decoder

    place.mkdir(parents=True)
    config = ModelConfig(size, 3, latent_dim, width)
    save_model(place / "model.safetensors", GANForInference(Decoder(config), None, Prior(config)), "gan", config, 1, 32)
    plain = Generator(width, size, latent_dim)
    plain.apply(weights_init)
    save_file(plain.state_dict(), place / "plain.safetensors")


class Material:
    """Pieces under one folder, made when they are first asked for, in a process of their own."""

    def __init__(self, place: Path) -> None:
        """Keep all under `place`."""
        self.place = place

    def get(self, name: str, **options: int) -> Path:
        """The folder of a piece."""
        folder = self.place / "-".join(map(str, [name, *options.values()]))
        if not folder.exists():
            command = [sys.executable, "-m", "benchmarks.speed.material", name, str(folder), json.dumps(options)]
            subprocess.run(command, env=environment(), cwd=ROOT, check=True)
        return folder


if __name__ == "__main__":
    makers = {"faces": faces, "generated": generated, "jpegs": jpegs, "networks": networks}
    makers[sys.argv[1]](Path(sys.argv[2]), **json.loads(sys.argv[3]))
