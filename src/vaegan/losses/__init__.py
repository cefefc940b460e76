"""Losses of the VAE and the GAN: pure functions of tensors, in registries to choose from."""
