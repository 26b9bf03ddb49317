"""Evaluation during a run. A resumed run repeats an evaluation that was cut off."""

import logging
from collections.abc import Callable
from pathlib import Path

from detectron2.engine import hooks
from detectron2.utils import comm

from mvit_det.detectron2.engine.hooks import Results
from mvit_det.detectron2.engine.metric_names import with_plain_names
from mvit_det.files import write_file


class Evaluation(hooks.EvalHook):
    """Detectron2's ``EvalHook``, which also records after which step the run was last evaluated.

    If a run is resumed after a step whose evaluation is due but was not completed, the run starts with this
    evaluation.

    Args:
        eval_period: number of steps between evaluations; 0 evaluates only after the last step.
        evaluate: evaluates the model.
        record: the file with the number of steps before the last evaluation that was completed.
    """

    def __init__(self, eval_period: int, evaluate: Callable[[], Results], record: Path) -> None:
        super().__init__(eval_period, lambda: with_plain_names(evaluate()))
        self.eval_period, self.record = eval_period, record

    def before_train(self) -> None:
        step = self.trainer.start_iter
        if step == 0:
            if comm.is_main_process():
                self.record.unlink(missing_ok=True)  # of an earlier run
        elif step == self.trainer.max_iter:
            self.trainer.iter = step - 1  # the last evaluation follows; Detectron2 adds 1 before it
        elif self._is_missing(step):
            logging.getLogger(__name__).info(f"evaluating after step {step}, as the interrupted run did not")
            self._set_step(step - 1)
            self._do_eval()
            self._set_step(step)

    def _is_missing(self, step: int) -> bool:
        """Return whether the evaluation after ``step`` steps is due and was not completed."""
        if not self.eval_period or step % self.eval_period:
            return False
        text = self.record.read_text() if self.record.is_file() else ""
        evaluated = int(text) if text.isdecimal() else 0
        is_missing: list[bool] = comm.all_gather(evaluated < step)
        return is_missing[0]

    def _set_step(self, index: int) -> None:
        """Let the results count as those of the step ``index``, counted from 0."""
        self.trainer.iter = self.trainer.storage.iter = index

    def _do_eval(self) -> None:
        super()._do_eval()
        if comm.is_main_process():
            step = min(self.trainer.iter + 1, self.trainer.max_iter)  # one more after training
            write_file(self.record, str(step).encode())
