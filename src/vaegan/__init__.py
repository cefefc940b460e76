"""vaegan: a folder of faces goes in, new faces come out.

`import vaegan` alone does not import torch: the functions below are loaded when they are first used.
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

_LAZY = {
    "prepare": "vaegan.data.preprocess.preprocess",
    "train_vae": "vaegan.training.train",
    "train_gan": "vaegan.training.train",
    "load": "vaegan.inference.model",
    "evaluate": "vaegan.evaluation.evaluate",
    "compare": "vaegan.evaluation.compare",
}

__all__ = ["__version__", "compare", "evaluate", "load", "prepare", "train_gan", "train_vae"]


def __getattr__(name: str) -> Any:
    """Load a public function on first use."""
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'vaegan' has no attribute {name!r}")
