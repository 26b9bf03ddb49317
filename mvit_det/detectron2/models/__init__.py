"""MViT backbones and heads for Detectron2."""
