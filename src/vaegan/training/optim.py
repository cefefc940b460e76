"""Optimizers with their state as named tensors, schedules, and the moving average of weights."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterable, Mapping
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from vaegan.errors import VaeganError

ADAM_STATE_NAMES = ("step", "exp_avg", "exp_avg_sq")
MUON_STATE_NAMES = ("momentum",)
NEWTON_SCHULZ_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_STEPS = 5
MATCH_ADAM_RMS = 0.2
"""Root mean square of a typical Adam update at learning rate 1 (Liu et al. 2025, arXiv 2502.16982, eq. 4)."""
EMA_RAMPUP_RATIO = 0.05

M = TypeVar("M", bound=nn.Module)


def linear_warmup(images_seen: int, warmup_images: int) -> float:
    """Return a factor that rises linearly from 0 to 1.

    Args:
        images_seen: training images seen.
        warmup_images: images over which it rises; 0 for none.

    Returns:
        in 0..1.
    """
    return min(1.0, images_seen / warmup_images) if warmup_images else 1.0


def inverse_sqrt_decay(images_seen: int, decay_start_images: int) -> float:
    """Return a factor of the learning rate (Karras et al. 2024, arXiv 2312.02696, eq. 67).

    It is 1, then sqrt(decay_start_images / images_seen).

    Args:
        images_seen: training images seen.
        decay_start_images: images after which it falls; 0 for never.

    Returns:
        in 0..1.
    """
    if not decay_start_images or images_seen <= decay_start_images:
        return 1.0
    return math.sqrt(decay_start_images / images_seen)


def cosine_anneal(images_seen: int, anneal_images: int, initial: float, final: float) -> float:
    """Go from one value to another by half a cosine (R3GAN, arXiv 2501.05441).

    Args:
        images_seen: training images seen.
        anneal_images: images that it takes.
        initial: first value.
        final: last value.

    Returns:
        the value now.
    """
    return final + (initial - final) * (1 + math.cos(math.pi * linear_warmup(images_seen, anneal_images))) / 2


class EMA(Generic[M]):
    """Exponential moving average of a model's weights. Buffers are copied.

    The half-life grows with training up to `halflife`, as a fixed fraction of the images seen, so that the initial
    weights do not stay in the average (EMA ramp-up, Karras et al. 2020, arXiv 2006.06676).

    Args:
        model: the model to average; the average starts as a copy of it.
        halflife: in images; 0 for no averaging.
    """

    def __init__(self, model: M, halflife: int) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.halflife = halflife

    @torch.no_grad()
    def update(self, model: M, images_seen: int, batch_size: int) -> None:
        """Move the average towards the model after a step.

        Args:
            model: the model that is trained.
            images_seen: training images seen, with this step.
            batch_size: images of this step.
        """
        halflife = min(self.halflife, images_seen * EMA_RAMPUP_RATIO)
        decay = 0.5 ** (batch_size / halflife) if halflife > 0 else 0.0
        averages: list[Tensor] = list(self.model.parameters())
        weights: list[Tensor] = [parameter.detach() for parameter in model.parameters()]
        torch._foreach_lerp_(averages, weights, 1 - decay)
        for average, buffer in zip(self.model.buffers(), model.buffers(), strict=True):
            average.copy_(buffer)


def freeze_layers(layers: Iterable[nn.Module], count: int) -> None:
    """Turn off the gradients of the first layers.

    For a discriminator this is FreezeD (Mo et al. 2020, arXiv 2002.10964).

    Args:
        layers: layers of a network, in their order.
        count: number of layers to freeze.
    """
    for layer in itertools.islice(layers, count):
        layer.requires_grad_(False)


def make_optimizer(
    name: str, model: nn.Module, lr: float, betas: tuple[float, float], momentum: float, update_clip: float = 0.0
) -> torch.optim.Optimizer:
    """Create an optimizer.

    Args:
        name: "adam" or "muon".
        model: the model whose parameters are trained.
        lr: learning rate.
        betas: of Adam.
        momentum: of Muon.
        update_clip: see `ClippedAdam`; Muon ignores it.

    Returns:
        the optimizer.
    """
    if name == "muon":
        return Muon(model, lr, betas, momentum)
    return ClippedAdam(list(model.parameters()), lr, betas, update_clip)


class ClippedAdam(torch.optim.Adam):
    """Adam (Kingma & Ba 2015, arXiv 1412.6980) with update clipping.

    When gradients suddenly grow, Adam's average of squared gradients lags behind, and an update can reach
    1 / sqrt(1 - beta2) times the learning rate for all weights at once. Update clipping scales such an update down
    (Shazeer & Stern 2018, arXiv 1804.04235, section 6). Here one factor scales the update of the whole network, which
    keeps its direction, and the size is measured without momentum.

    Args:
        parameters: all on one device.
        lr: learning rate.
        betas: decay of the averages of gradients and of squared gradients.
        update_clip: largest root mean square of an update, in units of the learning rate; 0 for no clipping.
    """

    def __init__(
        self, parameters: list[nn.Parameter], lr: float, betas: tuple[float, float], update_clip: float = 0.0
    ) -> None:
        fused = parameters[0].device.type in ("cpu", "cuda")
        super().__init__(parameters, lr=lr, betas=betas, eps=1e-8, fused=fused)
        self.update_clip = update_clip

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient.

        Args:
            closure: not used.
        """
        if not self.update_clip:
            super().step()
            return
        (group,) = self.param_groups
        lr = group["lr"]
        group["lr"] = lr * min(1.0, self.update_clip / max(self.next_update_rms(), 1e-8))
        try:
            super().step()
        finally:
            group["lr"] = lr

    def next_update_rms(self) -> float:
        """Return the RMS of the next update without clipping and momentum, in units of the learning rate.

        It is that of g / sqrt(v), where v is the bias-corrected average of squared gradients, which includes g^2.

        Returns:
            the root mean square; 1 before the first step.
        """
        (group,) = self.param_groups
        beta2, epsilon = group["betas"][1], group["eps"]
        parameters = [p for p in group["params"] if p.grad is not None and self.state.get(p)]
        if not parameters:
            return 1.0  # Adam's first update is the sign of the gradient
        bias_correction = 1 - beta2 ** (float(self.state[parameters[0]]["step"]) + 1)
        squares = torch._foreach_mul([p.grad for p in parameters], [p.grad for p in parameters])
        averages = torch._foreach_mul([self.state[p]["exp_avg_sq"] for p in parameters], beta2 / bias_correction)
        torch._foreach_add_(averages, squares, alpha=(1 - beta2) / bias_correction)
        torch._foreach_add_(averages, epsilon**2)
        torch._foreach_div_(squares, averages)
        total = float(torch.stack(torch._foreach_norm(squares, 1)).sum())
        return math.sqrt(total / sum(part.numel() for part in squares))


def newton_schulz_orthogonalize(matrix: Tensor) -> Tensor:
    """Replace the singular values of a float matrix [m, n] by values between about 0.7 and 1.2.

    Newton-Schulz iteration with the quintic polynomial of Jordan et al. 2024 ("Muon: an optimizer for hidden layers").
    If one side is at least twice as long, the iteration works on the Gram matrix of the short side: the same polynomial
    of the same singular values, on smaller matrices.

    Args:
        matrix: float [m, n].

    Returns:
        float [m, n], about U V^T of the singular value decomposition U S V^T.
    """
    if matrix.shape[0] > matrix.shape[1]:
        return newton_schulz_orthogonalize(matrix.T).mT
    a, b, c = NEWTON_SCHULZ_COEFFICIENTS
    x: Tensor = matrix / matrix.norm().clamp_min(1e-20)
    num_rows, num_columns = x.shape
    identity = torch.eye(num_rows, dtype=x.dtype, device=x.device)
    if num_columns < 2 * num_rows:
        for _ in range(NEWTON_SCHULZ_STEPS):
            gram = x @ x.T
            x = (a * identity + b * gram + c * gram @ gram) @ x
        return x
    gram, product = x @ x.T, identity
    for _ in range(NEWTON_SCHULZ_STEPS):
        factor = a * identity + b * gram + c * gram @ gram
        product = factor @ product
        gram = factor @ gram @ factor
        gram = (gram + gram.T) / 2  # keep it symmetric despite rounding
    x = product @ x
    return x


class Muon(torch.optim.Optimizer):
    """Muon (Jordan et al. 2024): orthogonalized momentum for matrices, Adam for all other parameters.

    A gradient is large in few directions of a matrix and tiny in the others; an orthogonal update moves all of them
    alike. It is scaled to the size of Adam's updates, so that Adam's learning rates apply (Liu et al. 2025, arXiv
    2502.16982, eq. 4). A convolution's weight [m, n, k, k] is taken as a matrix [m, n k k]. Embeddings are trained by
    Adam: most of their rows have no gradient in a step, and an orthogonal update would move these as much.

    Args:
        model: the model whose parameters are trained.
        lr: learning rate of both.
        betas: of Adam.
        momentum: Nesterov momentum of the matrices, from 0 to below 1.
    """

    def __init__(self, model: nn.Module, lr: float, betas: tuple[float, float], momentum: float) -> None:
        parameters = list(model.parameters())
        embeddings = {module.weight for module in model.modules() if isinstance(module, nn.Embedding)}
        self.matrix_parameters = [
            parameter for parameter in parameters if is_matrix(parameter) and parameter not in embeddings
        ]
        super().__init__(parameters, {"lr": lr})
        matrices = set(self.matrix_parameters)
        self.adam = ClippedAdam([parameter for parameter in parameters if parameter not in matrices], lr, betas)
        self.adam.state = self.state
        self.momentum = momentum

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient, with the learning rate of the single parameter group.

        Args:
            closure: not used.
        """
        lr = self.param_groups[0]["lr"]
        self.adam.param_groups[0]["lr"] = lr
        self.adam.step()
        for parameter in self.matrix_parameters:
            gradient = parameter.grad
            if gradient is None:
                continue
            state = self.state[parameter]
            if not state:
                state["momentum"] = torch.zeros_like(gradient)
            velocity = state["momentum"].lerp_(gradient, 1 - self.momentum)
            nesterov = gradient.lerp(velocity, self.momentum).flatten(1)
            update = newton_schulz_orthogonalize(nesterov).reshape(parameter.shape)
            parameter.add_(update, alpha=-lr * MATCH_ADAM_RMS * max(nesterov.shape) ** 0.5)


def is_matrix(parameter: Tensor) -> bool:
    """Return whether a parameter is a matrix: it has more than one row.

    Args:
        parameter: of any shape.

    Returns:
        whether it does.
    """
    return parameter.dim() > 1 and len(parameter) > 1


def state_names(optimizer: torch.optim.Optimizer, parameter: Tensor) -> tuple[str, ...]:
    """Return the names of the tensors that an optimizer keeps for a parameter.

    Args:
        optimizer: Adam or Muon.
        parameter: one of its parameters.

    Returns:
        the names.
    """
    is_muon = isinstance(optimizer, Muon) and any(parameter is matrix for matrix in optimizer.matrix_parameters)
    return MUON_STATE_NAMES if is_muon else ADAM_STATE_NAMES


def optimizer_state_dict(optimizer: torch.optim.Optimizer, model: nn.Module) -> dict[str, Tensor]:
    """Return an optimizer's state as named tensors.

    Args:
        optimizer: the optimizer.
        model: the model that it trains.

    Returns:
        `{"exp_avg.<parameter>": tensor, ...}`; empty before the first step.
    """
    return {
        f"{state_name}.{name}": optimizer.state[parameter][state_name]
        for name, parameter in model.named_parameters()
        if parameter in optimizer.state
        for state_name in state_names(optimizer, parameter)
    }


def load_optimizer_state_dict(
    optimizer: torch.optim.Optimizer, model: nn.Module, tensors: Mapping[str, Tensor]
) -> None:
    """Restore what `optimizer_state_dict` returned.

    Args:
        optimizer: the optimizer.
        model: the model that it trains.
        tensors: the state; empty for none. Frozen parameters have none.

    Raises:
        VaeganError: if a tensor is missing or of another shape.
    """
    optimizer.state.clear()
    if not tensors:
        return
    fused = bool((optimizer.adam if isinstance(optimizer, Muon) else optimizer).defaults.get("fused"))
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        state = {}
        for state_name in state_names(optimizer, parameter):
            tensor = tensors.get(f"{state_name}.{name}")
            shape = torch.Size([]) if state_name == "step" else parameter.shape
            if tensor is None or tensor.shape != shape or tensor.dtype != torch.float32:
                raise VaeganError(f"the optimizer's {state_name} of {name} is missing or does not fit")
            if state_name == "step":
                state[state_name] = tensor.to(parameter.device if fused else "cpu", copy=True)
            else:  # in the parameter's memory layout, since fused kernels traverse the memory of both
                state[state_name] = torch.empty_like(parameter, requires_grad=False).copy_(tensor)
        optimizer.state[parameter] = state
