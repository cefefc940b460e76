"""FID, KID, precision and recall on Inception features, by the torch-fidelity library."""

from __future__ import annotations

import contextlib
import io
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset

from vaegan.errors import VaeganError, error_text

DOWNLOAD = "download"
SOCKET_TIMEOUT_SECONDS = 10.0
WEIGHTS_ONLY_ENV = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
TORCH_FIDELITY_HINT = "pip install 'vaegan[metrics]'"


class _RGBImageDataset(Dataset[Tensor]):
    """uint8 [N, C, S, S] as single RGB images, the input of torch-fidelity."""

    def __init__(self, images: Tensor) -> None:
        self.images = images if images.shape[1] == 3 else images.expand(-1, 3, -1, -1)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        return self.images[index]


def check_inception(weights: str) -> None:
    """Check that Inception features can be computed.

    Args:
        weights: value of --inception: a file, or "download".

    Raises:
        VaeganError: if torch-fidelity is not installed or the file does not exist.
    """
    try:
        import torch_fidelity  # noqa: F401
    except ImportError:
        raise VaeganError(f"--inception needs torch-fidelity: {TORCH_FIDELITY_HINT}") from None
    if weights != DOWNLOAD and not Path(weights).is_file():
        raise VaeganError(
            f"--inception {weights}: no such file; give the weights file of torch-fidelity"
            " (weights-inception-2015-12-05-6726825d.pth), or the word download"
        )


@contextlib.contextmanager
def _safe_weight_loading() -> Iterator[None]:
    """Make downloads time out, and weights files with code be refused, which torch-fidelity would run."""
    old_timeout, old_env = socket.getdefaulttimeout(), os.environ.get(WEIGHTS_ONLY_ENV)
    socket.setdefaulttimeout(SOCKET_TIMEOUT_SECONDS)
    os.environ[WEIGHTS_ONLY_ENV] = "1"
    try:
        yield
    finally:
        socket.setdefaulttimeout(old_timeout)
        if old_env is None:
            del os.environ[WEIGHTS_ONLY_ENV]
        else:
            os.environ[WEIGHTS_ONLY_ENV] = old_env


def inception_metrics(real: Tensor, fake: Tensor, weights: str, use_gpu: bool) -> dict[str, float | None]:
    """Compute the usual metrics on Inception features.

    Args:
        real: uint8 [M, C, S, S].
        fake: uint8 [N, C, S, S].
        weights: path of torch-fidelity's Inception weights, or "download".
        use_gpu: compute on the GPU.

    Returns:
        FID, KID with its standard deviation, precision and recall by name; None where there are too few images.

    Raises:
        VaeganError: if the weights are unusable.
    """
    from torch_fidelity import calculate_metrics

    num_images = min(len(real), len(fake))
    options: dict[str, Any] = {} if weights == DOWNLOAD else {"feature_extractor_weights_path": weights}
    try:
        with (
            _safe_weight_loading(),
            contextlib.redirect_stderr(io.StringIO()),
            contextlib.redirect_stdout(io.StringIO()),
        ):
            metrics = calculate_metrics(
                input1=_RGBImageDataset(fake),
                input2=_RGBImageDataset(real),
                cuda=use_gpu,
                fid=True,
                kid=True,
                prc=True,
                feature_extractor="inception-v3-compat",
                feature_layer_prc="2048",
                kid_subset_size=min(1000, num_images),
                prc_neighborhood=min(3, num_images - 1),
                save_cpu_ram=True,
                verbose=False,
                **options,
            )
    except OSError as error:
        raise VaeganError(
            f"--inception {weights}: the weights cannot be downloaded ({error_text(error)}); without a network give"
            " --inception FILE"
        ) from error
    except Exception as error:  # torch-fidelity raises errors of many kinds
        raise VaeganError(f"--inception {weights}: cannot be used ({error_text(error)[:200]})") from error
    return {
        "inception_fid": float(metrics["frechet_inception_distance"]),
        "inception_kid": float(metrics["kernel_inception_distance_mean"]),
        "inception_kid_stderr": float(metrics["kernel_inception_distance_std"]),
        "inception_precision": float(metrics["precision"]),
        "inception_recall": float(metrics["recall"]),
    }
