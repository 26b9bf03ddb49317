"""Compares the time and memory of backbones; ``tools/benchmark.py`` runs it."""
