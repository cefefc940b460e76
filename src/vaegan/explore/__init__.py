"""The latent space in a browser: a page, and the small server that draws for it. Needs the extra `explore`."""
