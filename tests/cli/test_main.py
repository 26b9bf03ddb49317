import subprocess
import sys
from pathlib import Path

import pytest

from mvit_det.cli.main import COMMANDS, build_parser

# Prints the top-level modules outside the standard library that a command line imports.
PRINT_IMPORTS = """
import contextlib, sys
before = set(sys.modules)
from mvit_det.cli.main import main
with contextlib.redirect_stdout(sys.stderr), contextlib.suppress(SystemExit):
    main(sys.argv[1:])
names = {name.partition(".")[0] for name in set(sys.modules) - before}
print(*sorted(names - {"__mp_main__"} - set(sys.stdlib_module_names)))
"""
TRAIN = ["train", "--json", "a.json", "--images", "images", "--variant", "mvitv2_nano"]


def python(*arguments):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)


def imported_modules(*arguments):
    done = python("-c", PRINT_IMPORTS, *arguments)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["train", "--help"]], ids=" ".join)
def test_parsing_imports_only_the_standard_library(arguments):
    assert imported_modules(*arguments) == {"mvit_det"}


@pytest.mark.slow
def test_info_needs_only_torch():
    modules = imported_modules("info", "mvitv2_nano", "--size", "64", "64")
    assert "torch" in modules
    others = {"cv2", "lightning", "matplotlib", "PIL", "pycocotools", "rich", "safetensors", "torchvision"}
    assert not modules & others


@pytest.mark.parametrize("command", COMMANDS)
def test_the_example_of_every_help_parses(command, capsys):
    with pytest.raises(SystemExit):
        build_parser().parse_args([command, "--help"])
    program, *arguments = capsys.readouterr().out.split("example:\n")[1].split()
    assert program == "mvit-det"
    assert arguments[0] == command
    assert build_parser().parse_args(arguments).command == command


@pytest.mark.parametrize(
    ("arguments", "head"),
    [
        ([], "auto"),
        (["--cascade"], "auto_cascade"),
        (["--head", "cascade_mask_rcnn"], "cascade_mask_rcnn"),
        (["--head", "mask_rcnn"], "mask_rcnn"),
    ],
)
def test_the_head(arguments, head):
    assert build_parser().parse_args([*TRAIN, *arguments]).head == head


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "16"], "argument --size: 16 must be at least 32 px"),
        (["--epochs", "0"], "argument --epochs: 0 must be above 0"),
        (["--lr", "inf"], "argument --lr: inf must be above 0"),
        (["--workers", "-1"], "argument --workers: -1 must be 0 or more"),
        (["--seed", "x"], "argument --seed: invalid int value: 'x'"),
        (["--head", "x"], "argument --head: invalid choice: 'x'"),
        (["--cascade", "--head", "cascade_mask_rcnn"], "--head: not allowed with argument --cascade"),
        (["--ema", "1"], "argument --ema: 1 must be between 0 and 1"),
        (["--logger", "x"], "argument --logger: invalid choice: 'x'"),
        (["--jsn", "a.json"], "unknown argument --jsn: did you mean --json?"),
        (["--val-jsn=a.json"], "unknown argument --val-jsn: did you mean --val-json?"),
        (["--zzz"], "unknown argument --zzz: see mvit-det train --help"),
        (["--resume", "--overwrite"], "--overwrite: not allowed with argument --resume"),
    ],
)
def test_a_bad_value_is_named(arguments, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        build_parser().parse_args([*TRAIN, *arguments])
    assert message in capsys.readouterr().err


def test_a_misspelled_required_flag_is_named_rather_than_missing(capsys):
    with pytest.raises(SystemExit, match="2"):
        build_parser().parse_args(["train", "--jsn", "a.json"])
    assert "mvit-det train: error: unknown argument --jsn: did you mean --json?" in capsys.readouterr().err


def test_abbreviations_and_values_after_a_double_dash_remain():
    assert build_parser().parse_args([*TRAIN, "--val-j", "b.json"]).val_json.name == "b.json"
    assert build_parser().parse_args(["inspect", "--", "--odd.pth"]).source == "--odd.pth"


@pytest.mark.parametrize(("arguments", "ema"), [([], None), (["--ema"], 0.9998), (["--ema", "0.5"], 0.5)])
def test_the_average(arguments, ema):
    assert build_parser().parse_args([*TRAIN, *arguments]).ema == ema


@pytest.mark.parametrize(
    ("arguments", "out"),
    [
        (["eval", "--checkpoint", "a", "--json", "b", "--images", "c"], "runs/eval"),
        (["predict", "a.png", "--checkpoint", "a"], "runs/predictions"),
    ],
)
def test_results_have_a_default_folder(arguments, out):
    assert build_parser().parse_args(arguments).out == Path(out)


@pytest.mark.slow
def test_the_module_runs_the_command_under_the_same_name():
    done = python("-m", "mvit_det", "nothing")
    assert done.returncode == 2
    assert done.stderr.startswith("usage: mvit-det [-h]")
    assert "\nmvit-det: error: argument command: invalid choice: 'nothing'" in done.stderr
    done = python("-m", "mvit_det", "info", "mvit_s")
    assert done.returncode == 2
    assert done.stderr.startswith("mvit-det: error: unknown variant 'mvit_s': did you mean 'mvitv2_s'?")
