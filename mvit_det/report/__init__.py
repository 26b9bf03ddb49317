"""The output of runs: drawings, curves, result files, and messages on the terminal."""
