"""The prior of each class: which components of a mixture its latents come from.

The encoder does not see the class, so the latents of a class fill a part of the latent space only. The decoder was
trained on its class with latents of this part. A prior of the class stays there: it draws from the components of the
common mixture with weights p(k | c), as often as the latents of its images belong to them. Most components hold images
of several classes, so these draws lie between the classes. A shift gives them the mean of the class's latents.

A mixture may not be needed, or there may be too few images for it. Then each class has a normal of its own, whose mean
is shrunk towards the common one.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vaegan.models.prior import GaussianMixture
from vaegan.utils.neighbors import chunk_rows

SHRINKAGE_IMAGES = 10.0
"""The common weights count as so many images of each class."""
MIN_WITHIN_VARIANCE = 0.05


def class_component_weights(mixture: GaussianMixture, latents: Tensor, class_ids: Tensor, num_classes: int) -> Tensor:
    """Return p(k | c), the weights of the components for each class.

    They are the mean responsibilities of the class's images, and of SHRINKAGE_IMAGES images that are distributed as all
    are: the posterior mean under a Dirichlet prior with these parameters.

    Args:
        mixture: mixture of all latents.
        latents: float [N, draws, d], several of each image.
        class_ids: number of each image's class, int64 [N].
        num_classes: number of classes C.

    Returns:
        float32 [C, K], each row with sum 1.
    """
    draws = latents.shape[1]
    rows, owners = latents.flatten(0, 1), class_ids.repeat_interleave(draws)
    counts, start = torch.zeros(num_classes, len(mixture.weights)), 0
    for chunk in chunk_rows(rows, len(mixture.weights)):
        responsibilities = mixture.log_joint(chunk).softmax(1)
        counts.index_add_(0, owners[start : start + len(chunk)], responsibilities.float())
        start += len(chunk)
    weights = counts / draws + SHRINKAGE_IMAGES * mixture.weights.float()
    return weights / weights.sum(1, keepdim=True)


def class_mean_shifts(
    mixture: GaussianMixture, component_weights: Tensor, latents: Tensor, class_ids: Tensor
) -> Tensor:
    """Return what to add to the draws of each class, so that their mean is that of the class's latents.

    It is shrunk by n / (n + SHRINKAGE_IMAGES) for a class of n images.

    Args:
        mixture: mixture of all latents.
        component_weights: p(k | c), float [C, K].
        latents: float [N, draws, d], several of each image.
        class_ids: number of each image's class, int64 [N].

    Returns:
        float32 [C, d].
    """
    counts, class_means = _counts_and_means(latents, class_ids, len(component_weights))
    shrinkage = counts / (counts + SHRINKAGE_IMAGES)
    shifts = (class_means - component_weights.double() @ mixture.means.double()) * shrinkage[:, None]
    return shifts.float()


def _counts_and_means(latents: Tensor, class_ids: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """Return each class's number of images [C] and mean latent [C, d], 0 without images; both float64."""
    counts = class_ids.bincount(minlength=num_classes).double()
    sums = torch.zeros(num_classes, latents.shape[2]).double().index_add_(0, class_ids, latents.double().mean(1))
    return counts, sums / counts.clamp_min(1)[:, None]


def fit_class_normals(latents: Tensor, class_ids: Tensor, num_classes: int) -> GaussianMixture:
    """Fit one normal per class to whitened latents; all have the same covariance.

    The mean m of a class's n images is shrunk to max(0, 1 - (d - 2) / (n |m|^2)) m (James & Stein 1961, "Estimation
    with quadratic loss", positive part). The covariance within the classes is I - sum_c p(c) m_c m_c^T, so that of
    all latents stays I.

    Args:
        latents: float [N, draws, d], several of each image, of mean 0 and covariance I.
        class_ids: number of each image's class, int64 [N].
        num_classes: number of classes C.

    Returns:
        a mixture with one component per class, in their order.
    """
    d = latents.shape[2]
    counts, means = _counts_and_means(latents, class_ids, num_classes)
    noise = max(0, d - 2) / counts.clamp_min(1)
    means = means * (1 - noise / means.square().sum(1).clamp_min(1e-12)).clamp_min(0)[:, None]
    weights = counts / counts.sum()
    eigenvalues, eigenvectors = torch.linalg.eigh(torch.eye(d).double() - (means * weights[:, None]).T @ means)
    covariance = (eigenvectors * eigenvalues.clamp_min(MIN_WITHIN_VARIANCE)) @ eigenvectors.T
    scale_tril = torch.linalg.cholesky((covariance + covariance.T) / 2)
    no_factors = torch.empty(num_classes, 0, d)
    return GaussianMixture(weights.float(), means.float(), scale_tril.float(), no_factors)
