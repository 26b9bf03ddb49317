import pytest

from mvit_det.errors import InputError
from mvit_det.report.run_folder import (
    check_output,
    clear_output,
    find_checkpoint,
    last_checkpoint,
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


def test_the_last_checkpoint_is_that_of_either_integration(tmp_path):
    assert last_checkpoint(tmp_path) is None
    (tmp_path / "last.ckpt").touch()
    assert last_checkpoint(tmp_path) == tmp_path / "last.ckpt"
    (tmp_path / "last_checkpoint").write_text("model_0000003.pth\n")
    assert last_checkpoint(tmp_path) is None
    (tmp_path / "model_0000003.pth").touch()
    assert last_checkpoint(tmp_path) == tmp_path / "model_0000003.pth"


def test_a_folder_needs_a_name_in_utf8(tmp_path):
    """TensorBoard cannot write to others."""
    with pytest.raises(InputError, match=r"run\udcff: expected a name in UTF-8"):
        check_output(tmp_path / "run\udcff", ["run.json"], overwrite=False, inputs=[])
