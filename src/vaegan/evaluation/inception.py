"""The field's standard: FID, KID, precision and recall with Inception features, by the torch-fidelity library."""

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
    """uint8 [N, C, S, S] as the library takes them: RGB pictures one by one."""

    def __init__(self, images: Tensor) -> None:
        self.images = images if images.shape[1] == 3 else images.expand(-1, 3, -1, -1)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        return self.images[index]


def check_inception(weights: str) -> None:
    """Raise VaeganError when Inception cannot be used: no library, no such weights file."""
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
    """No hanging without a network, and no code from a stranger's weights, which the library by itself would run."""
    before, trusting = socket.getdefaulttimeout(), os.environ.get(WEIGHTS_ONLY_ENV)
    socket.setdefaulttimeout(SOCKET_TIMEOUT_SECONDS)
    os.environ[WEIGHTS_ONLY_ENV] = "1"
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
        if trusting is None:
            del os.environ[WEIGHTS_ONLY_ENV]
        else:
            os.environ[WEIGHTS_ONLY_ENV] = trusting


def inception_metrics(real: Tensor, fake: Tensor, weights: str, use_gpu: bool) -> dict[str, float | None]:
    """FID, KID with its deviation, precision and recall of uint8 [M, C, S, S] against [N, C, S, S].

    weights: path of the library's Inception weights, or "download". Raises VaeganError for weights that do not fit
    and for a machine without a network.
    """
    from torch_fidelity import calculate_metrics

    few = min(len(real), len(fake))
    options: dict[str, Any] = {} if weights == DOWNLOAD else {"feature_extractor_weights_path": weights}
    try:
        with (
            _safe_weight_loading(),
            contextlib.redirect_stderr(io.StringIO()),
            contextlib.redirect_stdout(io.StringIO()),
        ):
            found = calculate_metrics(
                input1=_RGBImageDataset(fake),
                input2=_RGBImageDataset(real),
                cuda=use_gpu,
                fid=True,
                kid=True,
                prc=True,
                feature_extractor="inception-v3-compat",
                feature_layer_prc="2048",
                kid_subset_size=min(1000, few),
                prc_neighborhood=min(3, few - 1),
                save_cpu_ram=True,
                verbose=False,
                **options,
            )
    except OSError as error:
        raise VaeganError(
            f"--inception {weights}: the weights cannot be had ({error_text(error)}); on a machine without a network give"
            " --inception FILE"
        ) from error
    except Exception as error:  # the library's own errors are of many kinds
        raise VaeganError(f"--inception {weights}: cannot be used ({error_text(error)[:200]})") from error
    return {
        "inception_fid": float(found["frechet_inception_distance"]),
        "inception_kid": float(found["kernel_inception_distance_mean"]),
        "inception_kid_error": float(found["kernel_inception_distance_std"]),
        "inception_precision": float(found["precision"]),
        "inception_recall": float(found["recall"]),
    }
