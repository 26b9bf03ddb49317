"""The training loop on top of Detectron2's."""
