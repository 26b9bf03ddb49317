"""The program behind ``tools/benchmark.py``."""
