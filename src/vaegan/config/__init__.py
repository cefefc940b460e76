"""Options, settings and the model configuration."""
