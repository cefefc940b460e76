"""Explore the latent space of a model in a browser. Needs the extra `explore`."""
