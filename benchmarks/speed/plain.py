"""Plain PyTorch training loops, after PyTorch's DCGAN tutorial and VAE example.

They use a DataLoader over an image folder with two workers, float32, the default memory format and allocator, and
Adam. Real and fake images pass through the discriminator one after the other, and losses are logged at every step. The
networks have the same layers, widths and slopes as vaegan's, written with torch.nn alone.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision import datasets, transforms

WORKERS = 2
SLOPE = 0.2
NUM_COLOR_LAYERS = 8
MODULATION_DIM = 128
SKIP_CHANNELS, SKIP_SIZE = 16, 16
NETWORKS = {
    "num_color_layers": NUM_COLOR_LAYERS,
    "modulation_dim": MODULATION_DIM,
    "skip_channels": SKIP_CHANNELS,
}
"""As in the preset that is measured; names of `vaegan.config.model_config.ModelConfig`."""


def weights_init(layer: nn.Module) -> None:
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.normal_(layer.weight, 0.0, 0.02)
        nn.init.zeros_(layer.bias)


def widths(width: int, size: int) -> list[int]:
    return [min(width * 2**level, width * 8) for level in range(int(math.log2(size)) - 2)]


def conv_layers(width: int, size: int) -> nn.Sequential:
    channels = itertools.pairwise([3, *widths(width, size)])
    layers = [(nn.Conv2d(a, b, 4, 2, 1), nn.LeakyReLU(SLOPE)) for a, b in channels]
    return nn.Sequential(*itertools.chain(*layers), nn.Flatten())


class Generator(nn.Module):
    def __init__(self, width: int, size: int, latent_dim: int) -> None:
        super().__init__()
        channels = [*reversed(widths(width, size)), max(8, width // 2)]
        self.first = nn.Linear(latent_dim, channels[0] * 16)
        self.upsampling = nn.ModuleList(nn.ConvTranspose2d(a, b, 4, 2, 1) for a, b in itertools.pairwise(channels))
        self.last = nn.Conv2d(channels[-1], NUM_COLOR_LAYERS, 3, padding=1)
        self.colors = nn.Conv2d(channels[2], 3 * NUM_COLOR_LAYERS, 3, padding=1)
        self.sizes = [c for c in channels[1:] for _ in range(2)] + [NUM_COLOR_LAYERS, 3 * NUM_COLOR_LAYERS]
        self.map = nn.Linear(latent_dim, SKIP_CHANNELS * SKIP_SIZE**2)
        hidden = nn.Linear(latent_dim, MODULATION_DIM)
        self.modulation = nn.Sequential(hidden, nn.LeakyReLU(SLOPE), nn.Linear(MODULATION_DIM, sum(self.sizes)))

    def forward(self, z: Tensor) -> Tensor:
        *modulations, logit_shift, color_shift = self.modulation(z)[:, :, None, None].split(self.sizes, 1)
        x = features = F.leaky_relu(self.first(z), SLOPE).unflatten(1, (-1, 4, 4))
        for layer, scale, shift in zip(self.upsampling, modulations[::2], modulations[1::2], strict=True):
            x = layer(x) * (1 + scale) + shift
            if x.shape[-1] == SKIP_SIZE:
                added = self.map(z).unflatten(1, (SKIP_CHANNELS, SKIP_SIZE, SKIP_SIZE))
                x = torch.cat([x[:, :SKIP_CHANNELS] + added, x[:, SKIP_CHANNELS:]], 1)
            x = F.leaky_relu(x, SLOPE)
            features = x if x.shape[-1] <= 16 else features
        weights = F.softmax(self.last(x) + logit_shift, 1)
        colors = torch.tanh(self.colors(features) + color_shift)
        layers = F.interpolate(colors, size=weights.shape[-2:], mode="bilinear")
        return (layers.unflatten(1, (3, NUM_COLOR_LAYERS)) * weights.unsqueeze(1)).sum(2)


class Discriminator(nn.Module):
    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.main = nn.Sequential(conv_layers(width, size), nn.Linear(widths(width, size)[-1] * 16, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.main(x).view(-1)


class VAE(nn.Module):
    def __init__(self, width: int, size: int, latent_dim: int) -> None:
        super().__init__()
        self.encoder, self.decoder = conv_layers(width, size), Generator(width, size, latent_dim)
        self.skip = nn.Conv2d(widths(width, size)[int(math.log2(size)) - 5], SKIP_CHANNELS // 2, 1)
        features = widths(width, size)[-1] * 16 + SKIP_CHANNELS // 2 * SKIP_SIZE**2
        self.mu, self.logvar = nn.Linear(features, latent_dim), nn.Linear(features, latent_dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = x
        for layer in self.encoder:
            h = layer(h)
            if isinstance(layer, nn.LeakyReLU) and h.shape[-1] == SKIP_SIZE:
                skip = self.skip(h).flatten(1)
        h = torch.cat([h, skip], 1)
        mu, logvar = self.mu(h), self.logvar(h)
        z = mu + torch.randn_like(mu) * torch.exp(0.5 * logvar)
        return self.decoder(z), mu, logvar


def dataloader(folder: str, size: int, batch_size: int) -> Iterator[Tensor]:
    transform = [
        transforms.Resize(size),
        transforms.CenterCrop(size),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    ]
    dataset = datasets.ImageFolder(folder, transform=transforms.Compose(transform))
    loader = torch.utils.data.DataLoader(
        dataset, batch_size=batch_size, shuffle=True, num_workers=WORKERS, drop_last=True
    )
    while True:
        for images, _ in loader:
            yield images


def load_batches(folder: str, size: int, batch_size: int, **_: object) -> Callable[[], int]:
    """Return data loading alone."""
    batches = dataloader(folder, size, batch_size)
    return lambda: len(next(batches))


def train_vae(folder: str, size: int, batch_size: int, width: int, latent_dim: int, **_: object) -> Callable[[], int]:
    model = VAE(width, size, latent_dim)
    model.apply(weights_init)
    optimizer, losses = torch.optim.Adam(model.parameters(), lr=1e-3), []
    batches = dataloader(folder, size, batch_size)

    def step() -> int:
        data = next(batches)
        optimizer.zero_grad()
        recon, mu, logvar = model(data)
        kld = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
        loss = (F.mse_loss(recon, data, reduction="sum") + kld) / len(data)
        loss.backward()
        losses.append(loss.item())
        optimizer.step()
        return len(data)

    return step


def gradient_penalty(logits: Tensor, images: Tensor) -> Tensor:
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.pow(2).flatten(1).sum(1).mean()


D_LOSSES: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "non-saturating": (lambda real: F.softplus(-real).mean(), lambda fake: F.softplus(fake).mean()),
    "minimax": (lambda real: F.softplus(-real).mean(), lambda fake: F.softplus(fake).mean()),
    "hinge": (lambda real: F.relu(1 - real).mean(), lambda fake: F.relu(1 + fake).mean()),
}
G_LOSSES: dict[str, Callable[[Tensor], Tensor]] = {
    "non-saturating": lambda fake: F.softplus(-fake).mean(),
    "minimax": lambda fake: -F.softplus(fake).mean(),
    "hinge": lambda fake: -fake.mean(),
}


def train_gan(
    folder: str, size: int, batch_size: int, width: int, latent_dim: int, loss: str, gamma: float, **_: object
) -> Callable[[], int]:
    """Return GAN steps; with gamma above 0, R1 on real and R2 on fake images at every step."""
    net_g, net_d = Generator(width, size, latent_dim), Discriminator(width, size)
    net_g.apply(weights_init)
    net_d.apply(weights_init)
    optimizer_d = torch.optim.Adam(net_d.parameters(), lr=2e-4, betas=(0.5, 0.999))
    optimizer_g = torch.optim.Adam(net_g.parameters(), lr=2e-4, betas=(0.5, 0.999))
    batches, log = dataloader(folder, size, batch_size), []

    def discriminate(images: Tensor) -> tuple[Tensor, Tensor | float]:
        """Return the logits and the gradient penalty."""
        images = images.detach().requires_grad_(gamma > 0)
        logits = net_d(images)
        return logits, gamma / 2 * gradient_penalty(logits, images) if gamma else 0.0

    def step() -> int:
        real = next(batches)
        net_d.zero_grad()
        fake = net_g(torch.randn(len(real), latent_dim))
        if loss == "relativistic":  # needs the logits of real and fake images at once
            (real_logits, r1), (fake_logits, r2) = discriminate(real), discriminate(fake)
            err_d = F.softplus(fake_logits - real_logits).mean() + r1 + r2
            err_d.backward()
        else:
            real_logits, r1 = discriminate(real)
            err_real = D_LOSSES[loss][0](real_logits) + r1
            err_real.backward()
            fake_logits, r2 = discriminate(fake)
            err_fake = D_LOSSES[loss][1](fake_logits) + r2
            err_fake.backward()
            err_d = err_real + err_fake
        d_x, d_g_z1 = real_logits.mean().item(), fake_logits.mean().item()
        optimizer_d.step()
        net_g.zero_grad()
        output = net_d(fake)
        err_g = F.softplus(net_d(real) - output).mean() if loss == "relativistic" else G_LOSSES[loss](output)
        err_g.backward()
        d_g_z2 = output.mean().item()
        optimizer_g.step()
        log.append((err_d.item(), err_g.item(), d_x, d_g_z1, d_g_z2))
        return len(real)

    return step
