"""The demo: a dataset of comic faces, and the whole pipeline on it."""
