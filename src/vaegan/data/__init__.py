"""Datasets: preprocessing, storage on disk, and training batches."""
