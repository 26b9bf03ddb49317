"""COCO-format data sets and training batches."""
