"""Compares the time and memory of backbones and of whole detectors; ``tools/benchmark.py`` runs it."""
