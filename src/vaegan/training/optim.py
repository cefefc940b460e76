"""Adam and Muon, and their state as named tensors: no pickle, and every name and shape checked on the way back."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from vaegan.errors import VaeganError

ADAM_STATE_NAMES = ("step", "exp_avg", "exp_avg_sq")
MUON_STATE_NAMES = ("momentum",)
NEWTON_SCHULZ_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_STEPS = 5
MATCH_ADAM_RMS = 0.2
"""Root mean square of Adam's usual update, in units of its rate (Liu et al. 2025, arXiv 2502.16982, eq. 4)."""


def make_optimizer(
    name: str, model: nn.Module, lr: float, betas: tuple[float, float], momentum: float, update_clip: float = 0.0
) -> torch.optim.Optimizer:
    """Return the optimizer of that name for a model; betas and update_clip are Adam's, the momentum Muon's."""
    if name == "muon":
        return Muon(model, lr, betas, momentum)
    return ClippedAdam(list(model.parameters()), lr, betas, update_clip)


class ClippedAdam(torch.optim.Adam):
    """Adam (Kingma & Ba 2015), fused where the device has that, whose updates may be kept from growing.

    Where a gradient is suddenly ten times its usual size, Adam's mean of squares is late to hear of it, and the update
    is up to 1 / sqrt(1 - beta2) times the rate, for all weights at once. Update clipping (Shazeer & Stern 2018, arXiv
    1804.04235, section 6) shortens such an update; here that of the whole network, whose direction stays what it is,
    and momentum, if there is any, is left out of what is measured.
    """

    def __init__(
        self, parameters: list[nn.Parameter], lr: float, betas: tuple[float, float], update_clip: float = 0.0
    ) -> None:
        """update_clip: largest root mean square of an update, in units of the rate; 0 for any."""
        fused = parameters[0].device.type in ("cpu", "cuda")
        super().__init__(parameters, lr=lr, betas=betas, eps=1e-8, fused=fused)
        self.update_clip = update_clip

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        if not self.update_clip:
            super().step()
            return
        (group,) = self.param_groups
        rate = group["lr"]
        group["lr"] = rate * min(1.0, self.update_clip / max(self.next_update_rms(), 1e-8))
        try:
            super().step()
        finally:
            group["lr"] = rate

    def next_update_rms(self) -> float:
        """Root mean square that the next update would have without clipping and momentum, in units of the rate."""
        (group,) = self.param_groups
        kept, epsilon = group["betas"][1], group["eps"]
        moved = [parameter for parameter in group["params"] if parameter.grad is not None]
        known = [parameter for parameter in moved if self.state.get(parameter)]
        if not known:
            return 1.0  # a first update is the gradient's signs
        past = 1 - kept ** (float(self.state[known[0]]["step"]) + 1)
        now = torch._foreach_mul([p.grad for p in known], [p.grad for p in known])
        mean = torch._foreach_mul([self.state[p]["exp_avg_sq"] for p in known], kept / past)
        torch._foreach_add_(mean, now, alpha=(1 - kept) / past)
        torch._foreach_add_(mean, epsilon**2)
        torch._foreach_div_(now, mean)
        total = float(torch.stack(torch._foreach_norm(now, 1)).sum())
        return math.sqrt(total / sum(part.numel() for part in now))


def newton_schulz_orthogonalize(matrix: Tensor) -> Tensor:
    """Nearly U V^T of a float matrix U S V^T [m, n]: all of its singular values come to lie in 0.7 to 1.2.

    Newton-Schulz with the quintic of Jordan et al. 2024 ("Muon: an optimizer for hidden layers"). Where one side is
    at least twice as long, the steps are taken on the Gram matrix of the short one, which is the same polynomial of
    the same singular values and for a convolution's weights a third of the work.
    """
    if matrix.shape[0] > matrix.shape[1]:
        return newton_schulz_orthogonalize(matrix.T).mT
    a, b, c = NEWTON_SCHULZ_COEFFICIENTS
    x: Tensor = matrix / matrix.norm().clamp_min(1e-20)
    side, long = x.shape
    identity = torch.eye(side, dtype=x.dtype, device=x.device)
    if long < 2 * side:
        for _ in range(NEWTON_SCHULZ_STEPS):
            gram = x @ x.T
            x = (a * identity + b * gram + c * gram @ gram) @ x
        return x
    gram, product = x @ x.T, identity
    for _ in range(NEWTON_SCHULZ_STEPS):
        step = a * identity + b * gram + c * gram @ gram
        product = step @ product
        gram = step @ gram @ step
        gram = (gram + gram.T) / 2  # rounding may not make it lopsided
    x = product @ x
    return x


class Muon(torch.optim.Optimizer):
    """Momentum whose every update is orthogonalised (Jordan et al. 2024): for weights that are matrices.

    A plain gradient's update is large along few directions and tiny along the others; an orthogonal one moves all of
    them alike. Scaled to the size of Adam's (Liu et al. 2025, arXiv 2502.16982, eq. 4), it takes Adam's rates. A
    convolution's weight [m, n, k, k] is the matrix [m, n k k]; biases and single rows go with Adam.
    """

    def __init__(self, model: nn.Module, lr: float, betas: tuple[float, float], momentum: float) -> None:
        """betas: of Adam, for the rest; momentum: 0 to under 1, of the matrices, looking ahead as Nesterov's."""
        parameters = list(model.parameters())
        self.matrix_parameters = [parameter for parameter in parameters if is_matrix(parameter)]
        super().__init__(parameters, {"lr": lr})
        self.adam = ClippedAdam([parameter for parameter in parameters if not is_matrix(parameter)], lr, betas)
        self.adam.state = self.state
        self.momentum = momentum

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient, at the rate of the one group."""
        rate = self.param_groups[0]["lr"]
        self.adam.param_groups[0]["lr"] = rate
        self.adam.step()
        for parameter in self.matrix_parameters:
            gradient = parameter.grad
            if gradient is None:
                continue
            state = self.state[parameter]
            if not state:
                state["momentum"] = torch.zeros_like(gradient)
            velocity = state["momentum"].lerp_(gradient, 1 - self.momentum)
            ahead = gradient.lerp(velocity, self.momentum).flatten(1)
            update = newton_schulz_orthogonalize(ahead).reshape(parameter.shape)
            parameter.add_(update, alpha=-rate * MATCH_ADAM_RMS * max(ahead.shape) ** 0.5)


def is_matrix(parameter: Tensor) -> bool:
    """Say whether Muon takes a parameter as a matrix of more than one row."""
    return parameter.dim() > 1 and len(parameter) > 1


def state_names(optimizer: torch.optim.Optimizer, parameter: Tensor) -> tuple[str, ...]:
    """Names of the tensors that an optimizer keeps of a parameter."""
    return MUON_STATE_NAMES if isinstance(optimizer, Muon) and is_matrix(parameter) else ADAM_STATE_NAMES


def optimizer_state_dict(optimizer: torch.optim.Optimizer, model: nn.Module) -> dict[str, Tensor]:
    """Name an optimizer's state by the model's parameters: {"exp_avg.first.bias": ...}; empty before its first step."""
    return {
        f"{slot}.{name}": optimizer.state[parameter][slot]
        for name, parameter in model.named_parameters()
        if parameter in optimizer.state
        for slot in state_names(optimizer, parameter)
    }


def load_optimizer_state_dict(
    optimizer: torch.optim.Optimizer, model: nn.Module, tensors: Mapping[str, Tensor]
) -> None:
    """Put back what `optimizer_tensors` named. Raises VaeganError when a name or shape does not fit."""
    optimizer.state.clear()
    if not tensors:
        return
    fused = bool((optimizer.adam if isinstance(optimizer, Muon) else optimizer).defaults.get("fused"))
    for name, parameter in model.named_parameters():
        found = {}
        for slot in state_names(optimizer, parameter):
            tensor = tensors.get(f"{slot}.{name}")
            wanted = torch.Size([]) if slot == "step" else parameter.shape
            if tensor is None or tensor.shape != wanted or tensor.dtype != torch.float32:
                raise VaeganError(f"the optimizer's {slot} of {name} is missing or does not fit")
            if slot == "step":
                found[slot] = tensor.to(parameter.device if fused else "cpu", copy=True)
            else:  # laid out as the parameter: fused kernels go through the memory of both
                found[slot] = torch.empty_like(parameter, requires_grad=False).copy_(tensor)
        optimizer.state[parameter] = found
