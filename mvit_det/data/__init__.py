"""Images, COCO annotations and results, and average precision."""
