"""Classes of images as inputs of networks.

A network takes class weights, float [B, C]: a row is 1 for the image's class and 0 for the others. Between two classes
it is a mixture of their rows, so the embeddings of classes can be interpolated. Unconditional networks have C = 0.
"""

from __future__ import annotations

import copy
from typing import Self

import torch
from torch import Tensor, nn


def one_hot(class_ids: Tensor, num_classes: int) -> Tensor:
    """Return the class weights of images that have one class each.

    Args:
        class_ids: number of each image's class, int64 [B].
        num_classes: number of classes C.

    Returns:
        float32 [B, C].
    """
    return nn.functional.one_hot(class_ids, num_classes).float()


def make_class_embedding(num_classes: int, num_features: int) -> nn.Embedding | None:
    """Return one vector of zeros per class, so that at first a network gives all classes the same output.

    Args:
        num_classes: number of classes C.
        num_features: length of each vector.

    Returns:
        the embedding [C, num_features]; None without classes.
    """
    if not num_classes:
        return None
    return nn.Embedding(num_classes, num_features, _weight=torch.zeros(num_classes, num_features))


def embed_classes(embedding: nn.Embedding, class_weights: Tensor | None) -> Tensor:
    """Return the weighted sum of the classes' vectors.

    Args:
        embedding: one vector per class, [C, F].
        class_weights: float [B, C].

    Returns:
        [B, F].

    Raises:
        ValueError: if there are no class weights: a conditional network needs them.
    """
    if class_weights is None or class_weights.shape[1] != embedding.num_embeddings:
        raise ValueError(f"expected the weights of {embedding.num_embeddings} classes for each row")
    return class_weights @ embedding.weight


class ConditionalModule(nn.Module):
    """A module that takes class weights, and of which a version for one class can be made."""

    fixed_class: int | None = None

    def for_class(self, class_id: int) -> Self:
        """Return a module of one class, which shares this one's tensors and takes no class weights.

        Args:
            class_id: number of the class.

        Returns:
            the module.
        """
        module = copy.copy(self)
        module.fixed_class = class_id
        return module

    def with_fixed_class(self, class_weights: Tensor | None, rows: Tensor, num_classes: int) -> Tensor | None:
        """Return the class weights to use: those of the module's own class, where it has one.

        Args:
            class_weights: those that were given.
            rows: a batch [B, ...], for the number of rows and the device.
            num_classes: number of classes C.

        Returns:
            float32 [B, C], or what was given.
        """
        if self.fixed_class is None:
            return class_weights
        return one_hot(torch.full((len(rows),), self.fixed_class, device=rows.device), num_classes)
