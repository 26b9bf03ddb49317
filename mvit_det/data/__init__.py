"""Data sets in COCO's format: images, annotations, results and average precision."""
