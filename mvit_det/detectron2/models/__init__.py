"""The MViT backbone and heads for Detectron2, and the cost of the parts of a detector."""
