"""Whole programs as a user would write them today, for rows that time a command from its start to its end.

python -m benchmarks.speed.scripts NAME ARGUMENT...
"""

from __future__ import annotations

import sys
from pathlib import Path


def help_of() -> None:
    """A Typer app with two commands, asked for its help."""
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


def generator(weights: str, width: str, size: str, latent_dim: str):
    from safetensors.torch import load_file

    from benchmarks.speed.plain import Generator

    net = Generator(int(width), int(size), int(latent_dim))
    net.load_state_dict(load_file(weights))
    return net.eval()


def sample(weights: str, width: str, size: str, latent_dim: str, count: str, out: str) -> None:
    """Save each picture with torchvision."""
    import torch
    from torchvision.utils import save_image

    net, done = generator(weights, width, size, latent_dim), 0
    Path(out).mkdir(parents=True)
    torch.manual_seed(0)
    with torch.no_grad():
        while done < int(count):
            for picture in net(torch.randn(min(64, int(count) - done), int(latent_dim))):
                save_image(picture, Path(out) / f"{done:06d}.png", normalize=True, value_range=(-1, 1))
                done += 1


def sheet(weights: str, width: str, size: str, latent_dim: str, count: str, out: str) -> None:
    """Save one grid."""
    import torch
    from torchvision.utils import save_image

    net = generator(weights, width, size, latent_dim)
    torch.manual_seed(0)
    with torch.no_grad():
        pictures = net(torch.randn(int(count), int(latent_dim)))
    save_image(pictures, out, nrow=8, normalize=True, value_range=(-1, 1))


def interpolate(weights: str, width: str, size: str, latent_dim: str, frames: str, out: str) -> None:
    """There and back between two latents, four times as large, as a GIF, and a strip of the way."""
    import torch
    from torchvision.transforms.functional import to_pil_image
    from torchvision.utils import save_image

    net = generator(weights, width, size, latent_dim)
    torch.manual_seed(0)
    a, b = torch.randn(2, int(latent_dim))
    angle = torch.acos(torch.dot(a / a.norm(), b / b.norm()))
    with torch.no_grad():
        path = [
            (torch.sin((1 - t) * angle) * a + torch.sin(t * angle) * b) / torch.sin(angle)
            for t in torch.linspace(0, 1, int(frames))
        ]
        pictures = (net(torch.stack(path)) + 1) / 2
    save_image(pictures, f"{out}.png", nrow=int(frames))
    side = 4 * int(size)
    drawn = [to_pil_image(picture).resize((side, side), 0) for picture in pictures]
    drawn += drawn[-2:0:-1]
    drawn[0].save(f"{out}.gif", save_all=True, append_images=drawn[1:], duration=62, loop=0)


def evaluate(folder: str, weights: str, width: str, size: str, latent_dim: str, count: str) -> None:
    """The Frechet distance of Inception's features; its weights are left random, which costs the same."""
    import torch
    from torchvision import datasets, transforms
    from torchvision.models import inception_v3

    net, inception = (
        generator(weights, width, size, latent_dim),
        inception_v3(init_weights=False, transform_input=False),
    )
    inception.fc = torch.nn.Identity()
    inception.eval()
    steps = [transforms.ToTensor(), transforms.Normalize((0.5,) * 3, (0.5,) * 3)]
    dataset = datasets.ImageFolder(folder, transform=transforms.Compose(steps))
    real = torch.stack([dataset[number][0] for number in range(int(count))])
    torch.manual_seed(0)
    moments = []
    with torch.no_grad():
        fake = net(torch.randn(int(count), int(latent_dim)))
        for pictures in (real, fake):
            parts = [torch.nn.functional.interpolate(part, 299, mode="bilinear") for part in pictures.split(16)]
            features = torch.cat([inception(part) for part in parts]).double()
            moments.append((features.mean(0), features.T.cov()))
    (mean, cov), (other, others) = moments
    roots = torch.linalg.eigvals(cov @ others).real.clamp_min(0).sqrt().sum()
    print(float((mean - other).square().sum() + cov.trace() + others.trace() - 2 * roots))


def preprocess(source: str, out: str, size: str) -> None:
    """The loop of benchmarks.preprocess_speed."""
    from benchmarks.preprocess_speed import loop

    loop(Path(source), Path(out), int(size))


SCRIPTS = {
    "help": help_of,
    "sample": sample,
    "sheet": sheet,
    "interpolate": interpolate,
    "evaluate": evaluate,
    "preprocess": preprocess,
}

if __name__ == "__main__":
    SCRIPTS[sys.argv[1]](*sys.argv[2:])
