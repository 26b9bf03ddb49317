"""COCO-format data sets, training batches, and drawings of training samples."""
