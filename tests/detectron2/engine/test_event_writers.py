import json

import pytest
from detectron2.utils.events import EventStorage, JSONWriter, TensorboardXWriter
from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

from mvit_det.detectron2.engine.event_writers import (
    MetricPrinter,
    TrackerWriter,
    evaluations_left,
    remove_repeated_steps,
)
from mvit_det.detectron2.engine.hooks import TimedEvaluation


@pytest.mark.parametrize(
    ("step", "max_iter", "period", "expected"),
    [(0, 10, 0, 1), (0, 10, 3, 4), (3, 10, 3, 3), (9, 10, 3, 1), (0, 9, 3, 3), (8, 9, 3, 1)],
)
def test_evaluations_left(step, max_iter, period, expected):
    """After the steps 3, 6, 9 and 10 of 10, and after 3, 6 and 9 of 9."""
    assert evaluations_left(step, max_iter, period) == expected


def test_the_remaining_time_includes_the_evaluations():
    evaluation = TimedEvaluation(dict)
    evaluation.seconds = 60.0
    printer = MetricPrinter(max_iter=10, eval_period=3, evaluation=evaluation)
    with EventStorage(4) as storage:
        storage.put_scalar("time", 2.0)
        assert printer._get_eta(storage) == "0:03:10"  # 5 steps of 2 s, 3 evaluations of 60 s
        assert storage.latest()["eta_seconds"][0] == 190


def test_every_scalar_is_logged_once_with_its_step():
    logged, finished = [], []
    writer = TrackerWriter(lambda metrics, step: logged.append((step, metrics)), lambda: finished.append(1))
    with EventStorage(0) as storage:
        storage.put_scalar("loss", 3.0)
        writer.write()
        writer.write()
        storage.step()
        storage.put_scalar("loss", 1.0)
        storage.put_scalar("bbox/AP", 20.0, smoothing_hint=False)
        writer.write()
        writer.close()
    assert logged == [(0, {"loss": 3.0}), (1, {"loss": 2.0, "bbox/AP": 20.0})]  # the median of 3 and 1
    assert finished == [1]


@pytest.mark.parametrize("unfinished", ["", '{"iteration": 1, "loss"'])
def test_metrics_of_a_resumed_run_have_each_step_once(tmp_path, unfinished):
    path = tmp_path / "metrics.json"
    path.write_text('{"iteration": 0, "loss": 3.0}\n{"iteration": 2, "loss": 2.0}\n' + unfinished)
    writer = JSONWriter(path)
    remove_repeated_steps(tmp_path, start=1)
    with EventStorage(1) as storage:
        storage.put_scalar("loss", 1.0)
        writer.write()
    writer.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines == [{"iteration": 0, "loss": 3.0}, {"iteration": 1, "loss": 1.0}]


def test_a_run_without_metrics_has_none_to_remove(tmp_path):
    remove_repeated_steps(tmp_path, start=1)
    assert list(tmp_path.iterdir()) == []


def test_event_files_of_a_resumed_run_have_each_step_once(tmp_path):
    for start in (0, 2):  # the first run was killed after step 3, and its last checkpoint is that of step 2
        remove_repeated_steps(tmp_path, start)
        writer = TensorboardXWriter(str(tmp_path), filename_suffix=f".{start}")
        with EventStorage(start) as storage:
            for step in range(start, 3):
                storage.put_scalar("loss", float(step))
                writer.write()
                storage.step()
        writer.close()
    events = [
        (event.step, value.tag)
        for path in sorted(tmp_path.iterdir())
        for event in LegacyEventFileLoader(str(path)).Load()
        for value in event.summary.value
    ]
    assert sorted(events) == [(0, "loss"), (1, "loss"), (2, "loss")]
