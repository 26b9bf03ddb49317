"""Evaluate the model of a lazy config."""

import os
from pathlib import Path

from detectron2.evaluation import inference_on_dataset, print_csv_format
from detectron2.utils import comm
from detectron2.utils.logger import setup_logger
from omegaconf import DictConfig
from torch import nn

from mvit_det.detectron2.data.user_data import compare_test_size, log_data
from mvit_det.detectron2.engine.half_precision import evaluation_dtype, with_precision
from mvit_det.detectron2.engine.hooks import Results
from mvit_det.detectron2.engine.tta_settings import with_tta
from mvit_det.detectron2.lazy_config import build
from mvit_det.errors import find_disk_error
from mvit_det.weights import load_all_weights, local_file, read_checkpoint


def evaluate(cfg: DictConfig) -> Results:
    """Evaluate ``train.init_checkpoint``, and print a table of average precisions in percent.

    Returns:
        task -> metric -> value. Empty except in the main process.
    """
    setup_logger(distributed_rank=comm.get_rank())
    logger = setup_logger(distributed_rank=comm.get_rank(), name="mvit_det")
    model = build(cfg.model).to(cfg.train.device)
    checkpoint = read_checkpoint(local_file(cfg.train.init_checkpoint))
    logger.info(load_all_weights(model, checkpoint))
    if warning := compare_test_size(cfg, checkpoint.metadata):
        logger.warning(warning)
    log_data(cfg, ["val"])
    return evaluate_model(cfg, with_precision(with_tta(cfg, model), evaluation_dtype(cfg)))


def evaluate_model(cfg: DictConfig, model: nn.Module) -> Results:
    """Evaluate a model on the data set of ``dataloader.test``; see :func:`evaluate`."""
    if "output_dir" not in cfg.dataloader.evaluator:
        cfg.dataloader.evaluator.output_dir = os.path.join(cfg.train.output_dir, "inference")
    evaluator = build(cfg.dataloader.evaluator)
    try:
        results: Results = inference_on_dataset(model, build(cfg.dataloader.test), evaluator)
    except BaseException as error:
        # Detectron2 leaves incomplete files.
        if isinstance(error, KeyboardInterrupt) or find_disk_error(error) is not None:
            for path in Path(cfg.dataloader.evaluator.output_dir).glob("*instances*"):
                path.unlink(missing_ok=True)
        raise
    if comm.is_main_process():
        print_csv_format(results)
    return results
