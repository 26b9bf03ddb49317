"""Training, evaluation and inference on Detectron2's trainer, hooks and evaluator."""
