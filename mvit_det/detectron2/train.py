"""The command that trains or evaluates the model of a lazy config, in one or several processes."""

import logging
import shlex
import sys
from argparse import REMAINDER, ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from omegaconf.errors import ConfigAttributeError

from mvit_det.detectron2.config_files import CONFIG_HELP, find_config
from mvit_det.detectron2.engine.checkpointer import check_new_run
from mvit_det.detectron2.engine.evaluation import evaluate
from mvit_det.detectron2.engine.launch import (
    check_once,
    join_processes,
    leave_processes,
    set_processes,
    start_processes,
)
from mvit_det.detectron2.engine.logs import discarded_logs
from mvit_det.detectron2.engine.run import train
from mvit_det.detectron2.engine.run_checks import check_run
from mvit_det.detectron2.lazy_config import load_config
from mvit_det.engine.children import is_child
from mvit_det.engine.faults import explained_faults
from mvit_det.engine.interruption import interruptible
from mvit_det.engine.launchers import find_launch
from mvit_det.engine.slurm import is_requeued
from mvit_det.errors import InputError, one_line_errors
from mvit_det.ops.allocator import keep_freed_memory
from mvit_det.report.run_lock import run_lock

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
    args.resume |= is_requeued()
    with interruptible(Path(sys.argv[0]).name, _resume_command(arguments)), ExitStack() as stack:
        prepare = partial(_check_and_lock, args, stack)
        is_started = find_launch() is not None
        if not is_started:
            prepare()
            if args.num_gpus * args.num_machines > 1:
                start_processes(args)
        if join_processes(args.dist_url):
            stack.callback(leave_processes)
            if is_started and not is_child():
                check_once(prepare)
        elif is_started:  # a single process of torchrun
            prepare()
        run_process(args)


def run_process(args: Namespace) -> None:
    """Train or evaluate; each process of a run calls this function."""
    cfg = load_config(args.config_file, args.opts)
    if cfg.train.device == "cpu":
        keep_freed_memory()
    with discarded_logs(), explained_faults(Path(cfg.train.output_dir)):
        if args.eval_only:
            evaluate(cfg)
        else:
            train(cfg, args)


def _check_and_lock(args: Namespace, stack: ExitStack) -> None:
    """Check everything that the run needs, and lock its folder until ``stack`` is closed."""
    with explained_faults():
        try:
            cfg = load_config(args.config_file, args.opts)
            check_run(cfg, args)
            folder = Path(cfg.train.output_dir)
        except ConfigAttributeError as error:
            raise InputError(
                f"{error.full_key} is missing: configs/common/train.py lists the required keys"
            ) from None
        if args.machine_rank == 0:
            stack.enter_context(run_lock(folder, logging.getLogger(__name__).warning))
            if not (args.eval_only or args.resume):
                check_new_run(folder)  # again: another run may have used the folder since


def _resume_command(arguments: Sequence[str] | None) -> str:
    """Return the command that continues the run which these arguments start. Flags precede overrides."""
    num_arguments = len(sys.argv) - 1
    script = sys.orig_argv[: len(sys.orig_argv) - num_arguments]
    kept = [text for text in (sys.argv[1:] if arguments is None else arguments) if text != "--resume"]
    return shlex.join([*script, "--resume", *kept])


def _parser() -> ArgumentParser:
    """Return a parser of the flags of Detectron2's ``default_argument_parser``."""
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
        default="auto",
        metavar="URL",
        help="address where the processes meet: tcp://HOST:PORT of machine 0; default: a free port",
    )
    parser.add_argument("opts", nargs=REMAINDER, metavar="key=value", help="overrides of the config")
    return parser


if __name__ == "__main__":
    with one_line_errors():
        main()
