"""Programs as a user would write them today, for rows that time a command from start to end.

python -m benchmarks.speed.scripts NAME ARGUMENT...
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def show_help() -> None:
    """Print the help of a Typer app with two commands."""
    import typer

    app = typer.Typer()

    @app.command()
    def hello(name: str, times: int = 1) -> None:
        """Say hello."""

    @app.command()
    def goodbye(name: str, formal: bool = False) -> None:
        """Say goodbye."""

    sys.argv = ["app", "--help"]
    app()


def load_generator(weights: str, width: str, size: str, latent_dim: str) -> nn.Module:
    from safetensors.torch import load_file

    from benchmarks.speed.plain import Generator

    net = Generator(int(width), int(size), int(latent_dim))
    net.load_state_dict(load_file(weights))
    return net.eval()


def sample(weights: str, width: str, size: str, latent_dim: str, count: str, out: str) -> None:
    """Save each image with torchvision."""
    import torch
    from torchvision.utils import save_image

    net, index = load_generator(weights, width, size, latent_dim), 0
    Path(out).mkdir(parents=True)
    torch.manual_seed(0)
    with torch.no_grad():
        while index < int(count):
            for image in net(torch.randn(min(64, int(count) - index), int(latent_dim))):
                save_image(image, Path(out) / f"{index:06d}.png", normalize=True, value_range=(-1, 1))
                index += 1


def save_grid(weights: str, width: str, size: str, latent_dim: str, count: str, out: str) -> None:
    """Save all images in one grid."""
    import torch
    from torchvision.utils import save_image

    net = load_generator(weights, width, size, latent_dim)
    torch.manual_seed(0)
    with torch.no_grad():
        images = net(torch.randn(int(count), int(latent_dim)))
    save_image(images, out, nrow=8, normalize=True, value_range=(-1, 1))


def interpolate(weights: str, width: str, size: str, latent_dim: str, frames: str, out: str) -> None:
    """Save an interpolation between two latents as a strip, and as an enlarged GIF that plays forth and back."""
    import torch
    from torchvision.transforms.functional import to_pil_image
    from torchvision.utils import save_image

    net = load_generator(weights, width, size, latent_dim)
    torch.manual_seed(0)
    a, b = torch.randn(2, int(latent_dim))
    angle = torch.acos(torch.dot(a / a.norm(), b / b.norm()))
    with torch.no_grad():
        path = [
            (torch.sin((1 - t) * angle) * a + torch.sin(t * angle) * b) / torch.sin(angle)
            for t in torch.linspace(0, 1, int(frames))
        ]
        images = (net(torch.stack(path)) + 1) / 2
    save_image(images, f"{out}.png", nrow=int(frames))
    side = 4 * int(size)
    gif_frames = [to_pil_image(image).resize((side, side), 0) for image in images]
    gif_frames += gif_frames[-2:0:-1]
    gif_frames[0].save(f"{out}.gif", save_all=True, append_images=gif_frames[1:], duration=62, loop=0)


def evaluate(folder: str, weights: str, width: str, size: str, latent_dim: str, count: str) -> None:
    """Print the Frechet distance of Inception features; its weights stay random, which costs the same."""
    import torch
    from torchvision import datasets, transforms
    from torchvision.models import inception_v3

    net, inception = (
        load_generator(weights, width, size, latent_dim),
        inception_v3(init_weights=False, transform_input=False),
    )
    inception.fc = torch.nn.Identity()
    inception.eval()
    transform = [transforms.ToTensor(), transforms.Normalize((0.5,) * 3, (0.5,) * 3)]
    dataset = datasets.ImageFolder(folder, transform=transforms.Compose(transform))
    real = torch.stack([dataset[index][0] for index in range(int(count))])
    torch.manual_seed(0)
    moments = []
    with torch.no_grad():
        fake = net(torch.randn(int(count), int(latent_dim)))
        for images in (real, fake):
            parts = [torch.nn.functional.interpolate(part, 299, mode="bilinear") for part in images.split(16)]
            features = torch.cat([inception(part) for part in parts]).double()
            moments.append((features.mean(0), features.T.cov()))
    (real_mean, real_cov), (fake_mean, fake_cov) = moments
    roots = torch.linalg.eigvals(real_cov @ fake_cov).real.clamp_min(0).sqrt().sum()
    print(float((real_mean - fake_mean).square().sum() + real_cov.trace() + fake_cov.trace() - 2 * roots))


def preprocess(source: str, out: str, size: str) -> None:
    """Run the plain loop of benchmarks.preprocess_speed."""
    from benchmarks.preprocess_speed import preprocess_plain

    preprocess_plain(Path(source), Path(out), int(size))


SCRIPTS = {
    "help": show_help,
    "sample": sample,
    "grid": save_grid,
    "interpolate": interpolate,
    "evaluate": evaluate,
    "preprocess": preprocess,
}

if __name__ == "__main__":
    SCRIPTS[sys.argv[1]](*sys.argv[2:])
