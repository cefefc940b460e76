"""Optimizers with their state as named tensors, schedules, and the moving average of weights."""

from __future__ import annotations

import contextlib
import copy
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from vaegan.errors import VaeganError

ADAM_STATE_NAMES = ("step", "exp_avg", "exp_avg_sq")
MUON_STATE_NAMES = ("momentum",)
NEWTON_SCHULZ_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_STEPS = 5
MIN_SQUARED_NORM = 1e-30
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
    name: str,
    model: nn.Module,
    lr: float,
    betas: tuple[float, float],
    momentum: float,
    update_clip: float = 0.0,
    precision: str = "fp32",
) -> torch.optim.Optimizer:
    """Create an optimizer.

    Args:
        name: "adam" or "muon".
        model: the model whose parameters are trained.
        lr: learning rate.
        betas: of Adam.
        momentum: of Muon.
        update_clip: see `ClippedAdam`; Muon ignores it.
        precision: of the networks, "fp32" or "bf16"; see `Muon`.

    Returns:
        the optimizer.
    """
    if name == "muon":
        return Muon(model, lr, betas, momentum, precision)
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
        # With clipping the step is computed here. Its counts stay on the CPU, so that no step waits for a GPU.
        fused = not update_clip and parameters[0].device.type in ("cpu", "cuda")
        super().__init__(parameters, lr=lr, betas=betas, eps=1e-8, fused=fused)
        self.update_clip = update_clip

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient. With clipping, the gradients are overwritten.

        Args:
            closure: not used.
        """
        if not self.update_clip:
            super().step()
            return
        (group,) = self.param_groups
        parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
        if not parameters:
            return
        steps_done = self._count_step(parameters)
        first_correction, second_correction = (1 - beta**steps_done for beta in group["betas"])

        # A CPU's caches hold one parameter after another; a GPU computes all of them in one kernel
        is_cpu = parameters[0].device.type == "cpu"
        updates, norms = [], []
        for part in [[parameter] for parameter in parameters] if is_cpu else [parameters]:
            part_updates, part_norms = self._move_averages(part, second_correction)
            updates += part_updates
            norms += part_norms

        # one factor for the whole network
        num_values = sum(update.numel() for update in updates)
        rms = torch.stack(norms).norm() * math.sqrt(second_correction / num_values)
        clip_factor = (self.update_clip / rms.clamp_min(1e-8)).clamp_max(1.0)
        lr = group["lr"] * math.sqrt(second_correction) / first_correction
        if is_cpu:  # one pass less
            lr *= float(clip_factor)
        else:  # as a tensor, since reading a value of a GPU waits for it
            torch._foreach_mul_(updates, clip_factor)
        torch._foreach_add_(parameters, updates, alpha=-lr)

    def _count_step(self, parameters: list[nn.Parameter]) -> float:
        """Create missing state, count a step, and return the number of steps, which all parameters have in common."""
        for parameter in parameters:
            if not self.state[parameter]:
                averages = {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
                self.state[parameter] = {"step": torch.tensor(0.0), **averages}
        torch._foreach_add_([self.state[parameter]["step"] for parameter in parameters], 1)
        return float(self.state[parameters[0]]["step"])

    def _move_averages(
        self, parameters: list[nn.Parameter], second_correction: float
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Add the gradients to the averages, and overwrite them: new memory takes a CPU longer than the arithmetic.

        Return the updates without bias corrections, and the norms of those without momentum, g / sqrt(v).
        """
        (group,) = self.param_groups
        beta1, beta2 = group["betas"]
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        square_averages = [self.state[parameter]["exp_avg_sq"] for parameter in parameters]
        torch._foreach_mul_(square_averages, beta2)
        torch._foreach_addcmul_(square_averages, gradients, gradients, value=1 - beta2)
        denominators = torch._foreach_sqrt(square_averages)
        torch._foreach_add_(denominators, group["eps"] * math.sqrt(second_correction))
        if beta1:
            averages = [self.state[parameter]["exp_avg"] for parameter in parameters]
            torch._foreach_lerp_(averages, gradients, 1 - beta1)
        torch._foreach_div_(gradients, denominators)
        updates = torch._foreach_div(averages, denominators) if beta1 else gradients
        norms = torch._foreach_norm(gradients)
        return list(updates), list(norms)


def newton_schulz_factors(grams: Tensor) -> Tensor:
    """Return matrices Q for the Gram matrices G = X X^T, so that Q X is about orthogonal.

    Q X has the singular vectors of X and singular values from about 0.7 to 1.2. It is the Newton-Schulz iteration with
    the quintic polynomial of Jordan et al. 2024 ("Muon: an optimizer for hidden layers"), X <- (a I + b G + c G^2) X. G
    changes by the same factor from both sides, so that X itself is needed only once, after the last iteration.

    Args:
        grams: float [K, n, n], of K matrices X [n, m]; n <= m for speed.

    Returns:
        float [K, n, n], symmetric.
    """
    a, b, c = NEWTON_SCHULZ_COEFFICIENTS
    # The trace is the squared norm of X. Where that is tiny, Q X goes to 0 instead of following rounding errors.
    squared_norms = grams.diagonal(dim1=1, dim2=2).sum(1).clamp_min(MIN_SQUARED_NORM)[:, None, None]
    grams, product = grams / squared_norms, None
    for iteration in range(NEWTON_SCHULZ_STEPS):
        factor = torch.baddbmm(grams, grams, grams, beta=b, alpha=c)
        factor.diagonal(dim1=1, dim2=2).add_(a)
        product = factor if product is None else factor @ product
        if iteration < NEWTON_SCHULZ_STEPS - 1:
            grams = factor @ grams @ factor
    assert product is not None
    return product / squared_norms.sqrt()


@contextlib.contextmanager
def bf16_products(is_enabled: bool) -> Iterator[None]:
    """Let float32 matrix products round their factors to bfloat16 on a CPU with AMX.

    They still sum in float32. oneDNN decides it: other processors compute as before.

    Args:
        is_enabled: False changes nothing.

    Yields:
        Nothing.
    """
    options = getattr(torch.backends.mkldnn, "matmul", None)  # torch 2.9 and later
    if not is_enabled or options is None:
        yield
        return
    before = options.fp32_precision
    options.fp32_precision = "bf16"
    try:
        yield
    finally:
        options.fp32_precision = before


def as_wide_matrices(weight: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    """Return a weight and its update's direction as matrices [n, m], n <= m.

    Both have the same order of columns. It means nothing to Muon, so it is that in memory, which needs no copy.

    Args:
        weight: [rows, ...], dense in memory.
        direction: of the same shape.

    Returns:
        a view of the weight, and the direction.
    """
    if weight.dim() == 4 and weight.is_contiguous(memory_format=torch.channels_last):
        weight, direction = weight.permute(0, 2, 3, 1), direction.permute(0, 2, 3, 1)
    weight, direction = weight.view(len(weight), -1), direction.flatten(1)
    return (weight.T, direction.T) if len(weight) > weight.shape[1] else (weight, direction)


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
        precision: "bf16" allows `bf16_products` for the products of the long side. Those of the Gram matrices stay in
            float32: rounded, these get negative eigenvalues, which the iteration blows up.
    """

    def __init__(
        self, model: nn.Module, lr: float, betas: tuple[float, float], momentum: float, precision: str = "fp32"
    ) -> None:
        parameters = list(model.parameters())
        embeddings = {module.weight for module in model.modules() if isinstance(module, nn.Embedding)}
        self.matrix_parameters = [
            parameter for parameter in parameters if is_matrix(parameter) and parameter not in embeddings
        ]
        super().__init__(parameters, {"lr": lr})
        matrices = set(self.matrix_parameters)
        self.adam = ClippedAdam([parameter for parameter in parameters if parameter not in matrices], lr, betas)
        self.adam.state = self.state
        self.momentum, self.precision = momentum, precision

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient, with the learning rate of the single parameter group.

        Args:
            closure: not used.
        """
        lr = self.param_groups[0]["lr"]
        self.adam.param_groups[0]["lr"] = lr
        self.adam.step()
        parameters = [parameter for parameter in self.matrix_parameters if parameter.grad is not None]
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        if parameters:
            self._update_matrices(parameters, gradients, lr)

    def _update_matrices(self, parameters: list[nn.Parameter], gradients: list[Tensor], lr: float) -> None:
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter]["momentum"] = torch.zeros_like(parameter)
        velocities = [self.state[parameter]["momentum"] for parameter in parameters]
        torch._foreach_lerp_(velocities, gradients, 1 - self.momentum)
        directions = torch._foreach_lerp(gradients, velocities, self.momentum)  # Nesterov

        # one iteration for all matrices with equal short sides, whatever their long ones
        groups: dict[int, list[tuple[Tensor, Tensor]]] = {}
        for parameter, direction in zip(parameters, directions, strict=True):
            pair = as_wide_matrices(parameter, direction)
            groups.setdefault(len(pair[0]), []).append(pair)
        for pairs in groups.values():
            with bf16_products(self.precision == "bf16"):
                grams = torch.stack([direction @ direction.T for _, direction in pairs])
            factors = newton_schulz_factors(grams)
            with bf16_products(self.precision == "bf16"):
                for (weight, direction), factor in zip(pairs, factors, strict=True):
                    scale = MATCH_ADAM_RMS * direction.shape[1] ** 0.5
                    weight.addmm_(factor, direction, alpha=-lr * scale)


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
