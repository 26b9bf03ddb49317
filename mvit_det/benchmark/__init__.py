"""What ``tools/benchmark.py`` runs."""
