"""vaegan trains a VAE on face images, then a GAN that starts from its decoder, and samples new faces.

    import vaegan

    vaegan.prepare("faces", "data/faces-64")
    vaegan.train_vae("data/faces-64", "runs/vae", minutes=4)
    vaegan.train_gan("data/faces-64", "runs/gan", from_vae="runs/vae", minutes=8)
    model = vaegan.load("runs/gan")
    model.sample(64).save("samples.png")

Functions: prepare, train_vae, train_gan, load, evaluate, compare, export, timelapse, open_dataset. They are imported on
first use, so that `import vaegan` does not import torch. Training shows its progress in a terminal and in a notebook.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vaegan.errors import VaeganError
from vaegan.events import ignore_event
from vaegan.version import __version__

if TYPE_CHECKING:
    from vaegan.data.preprocess.preprocess import prepare
    from vaegan.data.vision_dataset import open_dataset
    from vaegan.evaluation.compare import compare
    from vaegan.evaluation.evaluate import Evaluation, evaluate
    from vaegan.exporting import export
    from vaegan.inference.model import Model, load
    from vaegan.inference.timelapse import timelapse
    from vaegan.training.train import train_gan, train_vae
    from vaegan.utils.image_batch import ImageBatch

_MODULE_BY_NAME = {
    "prepare": "vaegan.data.preprocess.preprocess",
    "train_vae": "vaegan.training.train",
    "train_gan": "vaegan.training.train",
    "load": "vaegan.inference.model",
    "Model": "vaegan.inference.model",
    "ImageBatch": "vaegan.utils.image_batch",
    "evaluate": "vaegan.evaluation.evaluate",
    "open_dataset": "vaegan.data.vision_dataset",
    "Evaluation": "vaegan.evaluation.evaluate",
    "compare": "vaegan.evaluation.compare",
    "export": "vaegan.exporting",
    "timelapse": "vaegan.inference.timelapse",
}

__all__ = [
    "Evaluation",
    "ImageBatch",
    "Model",
    "VaeganError",
    "__version__",
    "compare",
    "evaluate",
    "export",
    "ignore_event",
    "load",
    "open_dataset",
    "prepare",
    "timelapse",
    "train_gan",
    "train_vae",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name in _MODULE_BY_NAME:
        return getattr(import_module(_MODULE_BY_NAME[name]), name)
    raise AttributeError(f"module 'vaegan' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the public names, for completion in a notebook."""
    return __all__
