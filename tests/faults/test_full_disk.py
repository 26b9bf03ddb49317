"""Training on a disk that is full: one line, exit status 1, and a last checkpoint that can be read."""

import contextlib
import re
import resource
import subprocess

import pytest

from mvit_det.data.shapes import write_shapes
from mvit_det.errors import one_line_errors
from mvit_det.files import TEMPORARY
from mvit_det.report.run_folder import last_checkpoint
from mvit_det.weights.reading import read_file
from tests.faults.integrations import INTEGRATIONS, IS_LONG, Detectron2, Torchvision, reset_logs

PREFIX = re.compile(r"[\w.-]+: error: ")
# Sizes of the disk in units of 1024 bytes. Weights have 10.1 MB, and a checkpoint 30.2 MB. FAULTS=long in the
# environment tries many more sizes, some of which leave a few kB for the logs.
SIZES: dict[str, tuple[int, ...]] = {"torchvision": (45_000,), "detectron2": (39_400,)}
if IS_LONG:
    SIZES = {
        "torchvision": (
            *(1_000, 9_000, 20_000, 30_250, 38_000, 39_500, 39_600, 39_700, 40_000, 45_000, 50_000, 58_000),
            *(65_000, 68_700, 68_860, 68_900, 68_950, 69_000, 69_050, 69_150),
        ),
        "detectron2": (
            *(1_000, 9_000, 10_000, 20_000, 29_500, 29_700, 29_800, 29_900, 35_000, 39_300, 39_400, 39_500),
            *(45_000, 60_000, 69_000, 69_100, 80_000, 90_000, 95_000, 98_400),
        ),
    }


def train(integration, data, out, resume):
    """Train for two steps, with a checkpoint and an evaluation after each."""
    reset_logs()
    if integration == "torchvision":
        kind = Torchvision(data, ["--size", "32", "--epochs", "2", "--draw", "1"])
    else:
        options = ["train.max_iter=2", "train.eval_period=1", "train.device=cpu"]
        options += ["train.scale_to_batch=False", "optimizer.lr=0.0"]
        options += ["dataloader.train.mapper.augmentations.0.short_edge_length=[32]"]
        options += ["dataloader.test.mapper.augmentations.0.short_edge_length=32"]
        kind = Detectron2(data, options)
    kind.main(kind.command(out, resume=resume))


def train_on_full_disk(integration, data, out, capfd, resume=False):
    """Train, and check how the run ends; return the line of the error, or None if there was enough space."""
    capfd.readouterr()
    try:
        with one_line_errors("a.py"):
            train(integration, data, out, resume)
        status = 0
    except SystemExit as caught:
        status = caught.code
    captured = capfd.readouterr()
    shown = captured.out + captured.err
    assert "Traceback" not in shown, shown
    assert "Exception ignored" not in shown, shown
    last = last_checkpoint(out)
    if last is not None:
        read_file(last)  # tests its checksums
    left = [path for path in out.rglob("*") if TEMPORARY.fullmatch(path.name)]
    assert left == []
    if status == 0:
        return None
    lines = [line for line in captured.err.splitlines() if PREFIX.match(line)]
    assert status == 1, shown
    assert len(lines) == 1, shown
    if last is not None:
        assert f"the last checkpoint is {last}; to continue: " in lines[0]
    return PREFIX.sub("", lines[0])


@pytest.fixture(scope="session")
def two_images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    write_shapes(folder, 2, 1)
    return folder


@contextlib.contextmanager
def small_disk(folder, size):
    """Mount an empty file system of ``size`` kB at a folder."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("this system has no mount command")
    if done.returncode != 0:
        pytest.skip(f"file systems cannot be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        folder.rmdir()


@pytest.mark.slow
@pytest.mark.parametrize("integration", INTEGRATIONS)
def test_run_on_a_small_disk_ends_in_one_line(integration, two_images, tmp_path, capfd):
    for number, size in enumerate(SIZES[integration]):
        with small_disk(tmp_path / f"disk_{number}", size):
            out = tmp_path / f"disk_{number}" / "run"
            line = train_on_full_disk(integration, two_images, out, capfd)
            assert line is not None, size
            assert f"free in {tmp_path}" in line


@pytest.mark.slow
@pytest.mark.parametrize("integration", INTEGRATIONS)
def test_run_with_limited_files_keeps_its_checkpoint_and_resumes(integration, two_images, tmp_path, capfd):
    """The limit is below the size of a checkpoint, and is lifted for the first one."""
    out = tmp_path / "run"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    from mvit_det.weights import save

    replaced_file = save.replaced_file

    def replaced_file_with_limit(path, **options):
        is_second = last_checkpoint(out) is not None
        limit = 2_000_000 if is_second else soft
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        return replaced_file(path, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(save, "replaced_file", replaced_file_with_limit)
        try:
            line = train_on_full_disk(integration, two_images, out, capfd)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "cannot be written: File too large" in line
    assert train_on_full_disk(integration, two_images, out, capfd, resume=True) is None
