"""vaegan trains a VAE on face images, then a GAN that starts from its decoder, and samples new faces.

The public functions are imported on first use, so that `import vaegan` does not import torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vaegan.version import __version__

if TYPE_CHECKING:
    from vaegan.data.preprocess.preprocess import prepare
    from vaegan.evaluation.compare import compare
    from vaegan.evaluation.evaluate import evaluate
    from vaegan.inference.model import load
    from vaegan.training.train import train_gan, train_vae

_MODULE_BY_FUNCTION = {
    "prepare": "vaegan.data.preprocess.preprocess",
    "train_vae": "vaegan.training.train",
    "train_gan": "vaegan.training.train",
    "load": "vaegan.inference.model",
    "evaluate": "vaegan.evaluation.evaluate",
    "compare": "vaegan.evaluation.compare",
}

__all__ = ["__version__", "compare", "evaluate", "load", "prepare", "train_gan", "train_vae"]


def __getattr__(name: str) -> Any:
    """Import a public function on first use."""
    if name in _MODULE_BY_FUNCTION:
        return getattr(import_module(_MODULE_BY_FUNCTION[name]), name)
    raise AttributeError(f"module 'vaegan' has no attribute {name!r}")
