"""Measures of pictures and features: pure functions of tensors."""
