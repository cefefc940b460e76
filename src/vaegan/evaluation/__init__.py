"""Metrics of generated images, each beside the value of as many real images."""
