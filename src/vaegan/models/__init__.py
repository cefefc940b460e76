"""The networks: VAE, discriminator, and what turns random noise into latents."""
