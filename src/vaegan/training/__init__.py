"""One loop, two trainers, and what surrounds them: randomness, averaging, the machine, resuming."""
