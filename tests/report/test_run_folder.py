import errno

import pytest

from mvit_det.errors import InputError, RunError
from mvit_det.report.run_folder import (
    check_output,
    clear_output,
    explained_disk_errors,
    find_checkpoint,
    refuse_training_run,
)

NAMES = ("metrics.json", "pictures")


@pytest.fixture
def folder(tmp_path):
    """A folder with the results of an earlier run, and with notes."""
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").touch()
    (tmp_path / "metrics.json").touch()
    (tmp_path / "notes.txt").touch()
    (tmp_path / ".last.ckpt.0123abcd.part").touch()  # of a process that was killed
    return tmp_path


def test_an_earlier_run_is_replaced_only_on_request(folder):
    with pytest.raises(InputError, match=r"already holds metrics.json, pictures .* add --overwrite$"):
        check_output(folder, NAMES, overwrite=False, inputs=())
    with pytest.raises(InputError, match=r"add --overwrite, or --resume to continue that run$"):
        check_output(folder, NAMES, overwrite=False, inputs=(), can_resume=True)
    check_output(folder, NAMES, overwrite=True, inputs=())
    clear_output(folder, NAMES)
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


def test_inputs_are_not_removed(folder):
    inputs = [folder / "notes.txt", folder / "pictures" / "a.png"]
    with pytest.raises(InputError, match=r"a\.png: --overwrite would remove it with .*pictures"):
        check_output(folder, NAMES, overwrite=True, inputs=inputs)


def test_the_output_must_be_a_folder(folder):
    for out in (folder / "notes.txt", folder / "notes.txt" / "inside"):
        with pytest.raises(InputError, match=r"notes\.txt: is a file; expected a folder"):
            check_output(out, NAMES, overwrite=True, inputs=())


@pytest.mark.parametrize("name", ["last.ckpt", "last_checkpoint"])
def test_results_are_kept_out_of_training_runs(folder, name):
    refuse_training_run(folder)
    (folder / name).touch()
    with pytest.raises(InputError, match="already holds a training run; choose another folder"):
        refuse_training_run(folder)


def test_the_best_checkpoint_of_a_folder_is_found(folder):
    with pytest.raises(InputError, match=r"is a folder without best.ckpt, .* or model_final.pth"):
        find_checkpoint(folder)
    for name in ("model_final.pth", "last.ckpt", "best.ckpt"):
        (folder / name).touch()
        assert find_checkpoint(folder) == folder / name
    assert find_checkpoint(folder / "none.ckpt") == folder / "none.ckpt"


def full():
    return OSError(errno.ENOSPC, "No space left on device")


def raise_while_handling(error, first):
    try:
        raise first
    except Exception:
        raise error  # noqa: B904


def explained(folder, *errors):
    with pytest.raises(RunError) as caught, explained_disk_errors(folder):
        raise_while_handling(*errors)
    return str(caught.value)


def test_an_error_of_the_disk_names_the_folder_and_the_last_checkpoint(tmp_path):
    line = explained(tmp_path, full(), KeyError("another"))
    assert line.startswith(f"{tmp_path}: No space left on device: ")
    assert line.endswith(f" free in {tmp_path}")
    last = tmp_path / "last.ckpt"
    last.touch()
    # A logger fails while it is closed because a checkpoint could not be written.
    line = explained(tmp_path, full(), RunError("a.ckpt: cannot be written"))
    assert line == f"a.ckpt: cannot be written; {last} is intact: resume the run to continue from it"


def test_the_last_checkpoint_of_detectron2_is_named(tmp_path):
    (tmp_path / "last_checkpoint").write_text("model_0000003.pth\n")
    assert "intact" not in explained(tmp_path, RuntimeError("unexpected pos 3"), full())
    (tmp_path / "model_0000003.pth").touch()
    assert "model_0000003.pth is intact" in explained(tmp_path, RuntimeError("unexpected pos 3"), full())


@pytest.mark.parametrize("error", [InputError("bad"), KeyError("bug"), KeyboardInterrupt()])
def test_other_errors_are_not_changed(tmp_path, error):
    with pytest.raises(type(error)) as caught, explained_disk_errors(tmp_path):
        raise error
    assert caught.value is error
