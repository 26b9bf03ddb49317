"""Reading and checking of the contents of COCO-format files."""
