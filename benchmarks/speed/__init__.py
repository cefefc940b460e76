"""The rows of `python -m benchmarks` and the reference programs they compare with."""
