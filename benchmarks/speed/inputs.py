"""Input files of the rows: drawn faces as PNG files and as a dataset, large JPEGs, untrained models, noise datasets.

python -m benchmarks.speed.inputs NAME DIR OPTIONS makes one of them; `Inputs` runs it when a row needs one.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from benchmarks.speed.processes import ROOT, child_environment

DISTINCT_FACES = 256


def make_faces(out_dir: Path, count: int, size: int) -> None:
    """Write `count` drawn faces as PNG files and as a dataset; at most DISTINCT_FACES of them differ."""
    from vaegan.demo.faces import draw_face, random_face
    from vaegan.utils.images import from_pil, png_bytes

    folder = out_dir / "folder" / "faces"
    folder.mkdir(parents=True)
    faces = [draw_face(random_face(0, index)).resize((size, size)) for index in range(min(count, DISTINCT_FACES))]
    files, pixels = [png_bytes(face) for face in faces], [from_pil(face).numpy().tobytes() for face in faces]
    for index in range(count):
        (folder / f"{index:05d}.png").write_bytes(files[index % len(files)])
    _write_dataset(out_dir / "set", (pixels[index % len(pixels)] for index in range(count)), count, size)


def _write_dataset(path: Path, pixels: Iterable[bytes], count: int, size: int) -> None:
    from vaegan.data.dataset import write_dataset, write_manifest

    path.mkdir()
    splits = bytes(index % 10 == 9 for index in range(count))
    write_dataset(path, pixels, splits, (3, size, size), {})
    write_manifest(path, [])


def make_noise(out_dir: Path, count: int, size: int) -> None:
    """Write a dataset of `count` different noise images."""
    rng = random.Random(0)
    out_dir.mkdir(parents=True)
    block = rng.randbytes(2**24)
    length = 3 * size * size
    offsets = (rng.randrange(len(block) - length) for _ in range(count))
    _write_dataset(out_dir / "set", (block[offset : offset + length] for offset in offsets), count, size)


def make_jpegs(out_dir: Path, count: int) -> None:
    """Write drawn faces of 1024 pixels with slight grain, as in photographs."""
    from benchmarks.preprocess_speed import write_jpegs

    out_dir.mkdir(parents=True)
    write_jpegs(out_dir / "jpegs", count, 0.08)


def make_models(out_dir: Path, size: int, width: int, latent_dim: int) -> None:
    """Write the weights of an untrained vaegan generator and of the plain generator."""
    from safetensors.torch import save_file

    from benchmarks.speed.plain import NETWORKS, Generator, weights_init
    from vaegan.checkpoint import save_model
    from vaegan.config.model_config import ModelConfig
    from vaegan.models.discriminator import GANForInference
    from vaegan.models.prior import Prior
    from vaegan.models.vae import Decoder

    out_dir.mkdir(parents=True)
    config = ModelConfig(size, 3, latent_dim, width, **NETWORKS)
    model = GANForInference(Decoder(config), None, Prior(config))
    save_model(out_dir / "model.safetensors", model, "gan", config, 1, 32)
    plain = Generator(width, size, latent_dim)
    plain.apply(weights_init)
    save_file(plain.state_dict(), out_dir / "plain.safetensors")


class Inputs:
    """Input files under one folder, each made in a child process when it is first requested."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def get(self, name: str, **options: int) -> Path:
        """Return the folder of an input."""
        path = self.root / "-".join(map(str, [name, *options.values()]))
        if not path.exists():
            command = [sys.executable, "-m", "benchmarks.speed.inputs", name, str(path), json.dumps(options)]
            subprocess.run(command, env=child_environment(), cwd=ROOT, check=True)
        return path


if __name__ == "__main__":
    makers = {"faces": make_faces, "noise": make_noise, "jpegs": make_jpegs, "models": make_models}
    makers[sys.argv[1]](Path(sys.argv[2]), **json.loads(sys.argv[3]))
