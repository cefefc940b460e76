"""Small true files that many tests share: drawn faces, a prepared set, a VAE run and a GAN run."""

import os
import shutil
import signal
from pathlib import Path
from unittest import mock

os.environ.setdefault("OMP_NUM_THREADS", "1")  # a core each for the processes of pytest-xdist

import pytest
import torch
from hypothesis import settings

from colored import COLORS
from vaegan.cli import main
from vaegan.demo.faces import write_faces
from vaegan.models.prior import add_local_covariances, fit_em
from vaegan.utils.images import to_pil

for number, handler in {"SIGINT": signal.default_int_handler, "SIGHUP": signal.SIG_DFL}.items():
    if hasattr(signal, number):  # as a terminal has them: what is started in the background, or by nohup, ignores them
        signal.signal(getattr(signal, number), handler)

settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")

TINY = ("--preset", "tiny", "--latent-dim", "8", "--batch-size", "8", "--precision", "fp32")
EACH_STEP = ("--checkpoint-every", "1")


@pytest.fixture(scope="session")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn") / "faces"
    write_faces(folder, 48, seed=1)
    return folder


@pytest.fixture(scope="session")
def prepared(drawn, tmp_path_factory):
    out = tmp_path_factory.mktemp("prepared") / "faces-32"
    assert main(["preprocess", str(drawn), "--out", str(out), "--size", "32", "--val-fraction", "0.2", "-q"]) == 0
    return out


@pytest.fixture(scope="session")
def vae_run(prepared, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "vae"
    assert main(["train-vae", str(prepared), "--run", str(run), "--steps", "4", *EACH_STEP, *TINY, "-q"]) == 0
    return run


@pytest.fixture(scope="session")
def mixed_vae():
    """Within it, every VAE's prior becomes a mixture, which so few pictures would not call for."""

    def three(latents, seed):
        every = latents.flatten(0, 1)
        return add_local_covariances(fit_em(every, 3, torch.Generator().manual_seed(seed)), every)

    return lambda: mock.patch("vaegan.models.latent_whitening.fit_mixture", three)


@pytest.fixture(scope="session")
def mixed_vae_run(prepared, mixed_vae, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "mixed-vae"
    with mixed_vae():
        assert main(["train-vae", str(prepared), "--run", str(run), "--steps", "4", *EACH_STEP, *TINY, "-q"]) == 0
    return run


@pytest.fixture(scope="session")
def gan_run(prepared, vae_run, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "gan"
    arguments = [
        "--from-vae",
        str(vae_run),
        "--run",
        str(run),
        "--steps",
        "4",
        "--batch-size",
        "8",
        "--d-warmup-steps",
        "1",
        *EACH_STEP,
    ]
    assert main(["train-gan", str(prepared), *arguments, "-q"]) == 0
    return run


FAST = ("--lr", "0.004", "--lr-warmup", "0", "--kl-warmup", "500", "--mirror")


@pytest.fixture(scope="session")
def colored(tmp_path_factory):
    """Noise in the color that the column `color` names, beside a column of numbers and one of yes and no."""
    folder, generator = tmp_path_factory.mktemp("colored") / "images", torch.Generator().manual_seed(0)
    folder.mkdir()
    lines = ["file,color,weight,is_dark"]
    names = [name for name, count in COLORS.items() for _ in range(count)] + [""] * 4
    for index, name in enumerate(names):
        image = torch.randint(0, 60, (3, 32, 32), dtype=torch.uint8, generator=generator)
        if name:
            image[list(COLORS).index(name)] += 180
        to_pil(image).save(folder / f"{index:02d}.png")
        lines.append(f"{index:02d}.png,{name},{index / 7:.2f},{'yes' if index % 2 else 'no'}")
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="session")
def colored_set(colored, tmp_path_factory):
    out = tmp_path_factory.mktemp("colored-set") / "colored-32"
    assert main(["preprocess", str(colored), "--out", str(out), "--size", "32", "--val-fraction", "0.2", "-q"]) == 0
    return out


@pytest.fixture(scope="session")
def cond_vae_run(colored_set, tmp_path_factory):
    """A VAE with the classes of `colored_set`, trained long enough that a class has its color."""
    run = tmp_path_factory.mktemp("runs") / "cond-vae"
    arguments = ["--cond", "color", "--balance", "--steps", "100", "--checkpoint-every", "100"]
    arguments += [*TINY, *FAST, "--evaluate-every", "0", "-q"]
    assert main(["train-vae", str(colored_set), "--run", str(run), *arguments]) == 0
    return run


@pytest.fixture(scope="session")
def cond_gan_run(cond_vae_run, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "cond-gan"
    arguments = ["--steps", "4", "--batch-size", "8", "--d-warmup-steps", "1", "-q"]
    assert main(["train-gan", "--from-vae", str(cond_vae_run), "--run", str(run), *arguments]) == 0
    return run


@pytest.fixture
def copy(tmp_path):
    """Copy a shared file or directory to a place that a test may spoil."""

    def make(source: Path) -> Path:
        place = tmp_path / source.name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, place)
        return place

    return make


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working directory."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder
