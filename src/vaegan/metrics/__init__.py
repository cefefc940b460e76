"""Metrics of images and features, as pure functions of tensors."""
