"""Options, settings and model configurations."""
