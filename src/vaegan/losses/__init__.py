"""Losses and augmentations: pure functions of tensors, in registries."""
