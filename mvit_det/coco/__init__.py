"""COCO-format files: read and checked, evaluated, written; shared by both homes."""
