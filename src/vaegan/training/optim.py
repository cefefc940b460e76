"""Adam, and its state as named tensors: no pickle, and every name and shape checked on the way back."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from vaegan.errors import VaeganError

SLOTS = ("step", "exp_avg", "exp_avg_sq")


def adam(model: nn.Module, lr: float, betas: tuple[float, float]) -> torch.optim.Adam:
    """Return a fused Adam (Kingma & Ba 2015) over the model's parameters where the device has one."""
    device = next(model.parameters()).device.type
    return torch.optim.Adam(model.parameters(), lr=lr, betas=betas, eps=1e-8, fused=device in ("cpu", "cuda"))


def optimizer_tensors(optimizer: torch.optim.Optimizer, model: nn.Module) -> dict[str, Tensor]:
    """Name an Adam's state by the model's parameters: {"exp_avg.first.weight": ...}; empty before its first step."""
    return {
        f"{slot}.{name}": optimizer.state[parameter][slot]
        for name, parameter in model.named_parameters()
        if parameter in optimizer.state
        for slot in SLOTS
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` named. Raises VaeganError when a name or shape does not fit."""
    optimizer.state.clear()
    if not tensors:
        return
    for name, parameter in model.named_parameters():
        slots = {}
        for slot in SLOTS:
            tensor = tensors.get(f"{slot}.{name}")
            wanted = torch.Size([]) if slot == "step" else parameter.shape
            if tensor is None or tensor.shape != wanted or tensor.dtype != torch.float32:
                raise VaeganError(f"the optimizer's {slot} of {name} is missing or does not fit")
            fused = bool(optimizer.defaults.get("fused"))
            place = torch.device("cpu") if slot == "step" and not fused else parameter.device
            slots[slot] = tensor.to(place, copy=True)
            if slot != "step" and parameter.dim() == 4:
                slots[slot] = slots[slot].to(memory_format=torch.channels_last)
        optimizer.state[parameter] = slots
