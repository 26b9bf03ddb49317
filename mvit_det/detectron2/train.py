"""The command that trains or evaluates the model of a lazy config, in one or several processes."""

from argparse import REMAINDER, ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from detectron2.engine import default_argument_parser
from omegaconf.errors import ConfigAttributeError
from torch import distributed

from mvit_det.detectron2.config_files import CONFIG_HELP, find_config
from mvit_det.detectron2.engine.launch import check_once, join_processes, set_processes, start_processes
from mvit_det.detectron2.engine.logs import discarded_logs
from mvit_det.detectron2.engine.run import evaluate, train
from mvit_det.detectron2.engine.run_checks import check_run
from mvit_det.detectron2.lazy_config import load_config
from mvit_det.errors import InputError, one_line_errors
from mvit_det.ops.allocator import keep_freed_memory
from mvit_det.report.run_folder import explained_disk_errors

EXAMPLES = """examples:
  %(prog)s --config-file mask_rcnn_mvitv2_t_3x --num-gpus 8
  %(prog)s --config-file mask_rcnn_mvitv2_t_3x --num-gpus 8 --resume
  %(prog)s --config-file mask_rcnn_mvitv2_t_3x --eval-only train.init_checkpoint=model_best.pth
  on each of two machines:
  %(prog)s --config-file ... --num-gpus 8 --num-machines 2 --machine-rank 0 --dist-url tcp://HOST:PORT
  torchrun --nnodes 2 --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint HOST:PORT \\
      -m mvit_det.detectron2.train --config-file ...
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run ``tools/train_net.py``, or ``python -m mvit_det.detectron2.train``.

    Raises:
        InputError: if the config, the data, the weights or an argument is not valid; nothing is written in
            that case.
    """
    args = _parser().parse_args(arguments)
    if not args.config_file:
        raise InputError("--config-file is missing: expected a path or the name of a config in configs/")
    args.config_file = str(find_config(args.config_file))  # a path: Detectron2 copies the file into the log
    set_processes(args)
    if join_processes():
        try:
            check_once(partial(_check, args))
            run_process(args)
        finally:
            distributed.destroy_process_group()
    else:
        _check(args)
        start_processes(run_process, args)


def run_process(args: Namespace) -> None:
    """Train or evaluate; each process of a run calls this function."""
    cfg = load_config(args.config_file, args.opts)
    if cfg.train.device == "cpu":
        keep_freed_memory()
    with one_line_errors(), discarded_logs(), explained_disk_errors(Path(cfg.train.output_dir)):
        if args.eval_only:
            evaluate(cfg)
        else:
            train(cfg, args)


def _check(args: Namespace) -> None:
    try:
        check_run(load_config(args.config_file, args.opts), args)
    except ConfigAttributeError as error:
        raise InputError(
            f"{error.full_key} is missing: configs/common/train.py lists the required keys"
        ) from None


def _parser() -> ArgumentParser:
    """Return a parser of the flags of Detectron2's ``default_argument_parser``, with their defaults."""
    parser = ArgumentParser(
        description="Train or evaluate the model of a lazy config.",
        epilog=EXAMPLES,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--config-file",
        default="",
        metavar="CONFIG",
        help=CONFIG_HELP,
    )
    parser.add_argument("--resume", action="store_true", help="continue the run in train.output_dir")
    parser.add_argument(
        "--eval-only", action="store_true", help="evaluate train.init_checkpoint instead of training"
    )
    for flag, default, text in (
        ("--num-gpus", 1, "number of GPUs on each machine, or of processes that share its CPU"),
        ("--num-machines", 1, "number of machines"),
        ("--machine-rank", 0, "number of this machine, counting from 0"),
    ):
        text = f"{text}; default: {default}, or as torchrun or srun started the processes"
        parser.add_argument(flag, type=int, metavar="N", help=text)
    parser.add_argument(
        "--dist-url",
        default=default_argument_parser().get_default("dist_url"),
        metavar="URL",
        help="address where the processes meet: tcp://HOST:PORT of machine 0; default: %(default)s",
    )
    parser.add_argument("opts", nargs=REMAINDER, metavar="key=value", help="overrides of the config")
    return parser


if __name__ == "__main__":
    with one_line_errors():
        main()
