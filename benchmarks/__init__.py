"""What claims of speed and quality are measured with: python -m benchmarks.NAME."""
