"""MViT backbones and heads for Detectron2, and what their parts cost."""
