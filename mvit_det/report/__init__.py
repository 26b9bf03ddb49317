"""What a run leaves behind: annotated images, curves and result files."""
