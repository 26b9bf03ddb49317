"""Output of runs: annotated images, curves, result files, and messages on the terminal."""
