"""Cartoon faces drawn by the package itself, and the whole pipeline on them."""
