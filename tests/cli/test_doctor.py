"""The command ``mvit-det doctor``, and the explanations of broken installations."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from mvit_det.cli import installation
from mvit_det.cli.main import main
from mvit_det.dependencies import (
    DETECTRON2_COMMIT,
    INSTALL_DETECTRON2,
    REINSTALL_DETECTRON2,
    REINSTALL_TORCH,
    explain_detectron2,
)

ROOT = Path(__file__).parents[2]


def run(folder, *arguments):
    """Run Python with the packages in ``folder`` before all others."""
    path = os.pathsep.join([str(folder), str(ROOT)])
    return subprocess.run(
        [sys.executable, "-W", "ignore", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def fake_detectron2(folder, code):
    """Write a package ``detectron2`` that runs ``code`` at import."""
    (folder / "detectron2").mkdir()
    (folder / "detectron2" / "__init__.py").write_text(code)
    return folder


def explain(folder, code):
    """Return the message of a failing ``import mvit_det.detectron2``."""
    catch = "try:\n import mvit_det.detectron2\nexcept ImportError as error:\n"
    catch += " assert error.__cause__ is not None\n print(error)"
    done = run(fake_detectron2(folder, code), "-c", catch)
    assert done.stdout.count("\n") == 1, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (
            "raise ModuleNotFoundError('none', name='detectron2')",
            ("Detectron2 is not installed (no module detectron2)", INSTALL_DETECTRON2),
        ),
        ("", ("Detectron2 is not installed (no module detectron2.config)", INSTALL_DETECTRON2)),
        (
            "import sys; sys.modules['pkg_resources'] = None; import pkg_resources",
            ("pkg_resources", "pip install 'setuptools<81'"),
        ),
        (
            "from PIL import Image; Image.LINEAR",
            ("too old for the installed version of Pillow", "'LINEAR'", REINSTALL_DETECTRON2),
        ),
        (
            "import numpy; numpy.float",
            ("too old for the installed version of NumPy", "'float'", REINSTALL_DETECTRON2),
        ),
        ("import no_such.package", ("needs no_such, which is not", "pip install no_such")),
        ("import sys; sys.modules['cv2'] = None; import cv2", ("cv2", "pip install opencv-python")),
        ("from detectron2 import _C", ("compiled part", "not built for torch", REINSTALL_DETECTRON2)),
        (
            "raise ImportError('/a/detectron2/_C.so: undefined symbol: _ZN3c10')",
            ("not built for torch", "undefined symbol: _ZN3c10", REINSTALL_DETECTRON2),
        ),
        (
            "from os import NO_CONFIG",
            ("cannot be imported", "'NO_CONFIG'", "the tested version", REINSTALL_DETECTRON2),
        ),
    ],
)
def test_the_cause_and_the_command_that_fixes_it(tmp_path, code, expected):
    line = explain(tmp_path, code)
    for text in expected:
        assert text in line


def test_an_older_detectron2(tmp_path):
    (fake_detectron2(tmp_path, "") / "detectron2" / "config.py").touch()
    done = run(tmp_path, "-c", "import mvit_det.detectron2")
    assert "Detectron2 cannot be imported (ImportError: cannot import name '" in done.stderr


def test_any_error_becomes_one_short_line():
    line = explain_detectron2(RuntimeError("two\nlines"))
    assert line.startswith("Detectron2 cannot be imported (RuntimeError: two lines)")
    assert len(explain_detectron2(OSError("long " * 1000))) < 700


@pytest.mark.slow
def test_detectron2_is_missing(tmp_path):
    done = run(
        fake_detectron2(tmp_path, "raise ModuleNotFoundError('none', name='detectron2')"),
        "-m",
        "mvit_det",
        "doctor",
    )
    assert done.returncode == 0, done.stderr
    assert "\nbackbone works\n" in done.stdout
    assert "\ntorchvision integration (mvit-det train ...) works\n" in done.stdout
    assert "\nruntime of exported detectors works\n" in done.stdout
    cause = f"Detectron2 is not installed (no module detectron2): {INSTALL_DETECTRON2}"
    assert done.stdout.endswith(f"\nDetectron2 integration (tools/) does not work: {cause}\n")


@pytest.mark.slow
@pytest.mark.detectron2
def test_everything_works(capsys):
    main(["doctor"])
    lines = capsys.readouterr().out.splitlines()
    for line in ("  compiled part loads", "  model_zoo     loads", "Detectron2 integration (tools/) works"):
        assert line in lines


@pytest.mark.slow
def test_broken_packages_do_not_stop_the_command(tmp_path):
    """torchvision exits the interpreter, and the installation of Detectron2 is incomplete."""
    (tmp_path / "torchvision.py").write_text("raise SystemExit('no')")
    (fake_detectron2(tmp_path, "") / f"detectron2/_C{sysconfig.get_config_var('EXT_SUFFIX')}").write_text("x")
    information = tmp_path / "detectron2-0.6.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: detectron2\nVersion: 0.6\n")
    (information / "top_level.txt").write_text("detectron2\n")
    (information / "direct_url.json").write_text('{"vcs_info": {"commit_id": "abc"}}')
    done = run(tmp_path, "-m", "mvit_det", "doctor")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert f"  commit        abc; the tested one is {DETECTRON2_COMMIT}" in lines
    assert any(
        line.startswith("  compiled part does not load: Detectron2's compiled part was not") for line in lines
    )
    assert "backbone works" in lines
    assert any(
        line.startswith("torchvision integration (mvit-det train ...) does not work: SystemExit")
        for line in lines
    )
    assert lines[-1].startswith("Detectron2 integration (tools/) does not work: ")


def test_the_commit_of_detectron2(monkeypatch, tmp_path):
    (tmp_path / "detectron2-0.6.dist-info").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert installation._detectron2_commit() == "unknown: not installed from git"
    url = tmp_path / "detectron2-0.6.dist-info" / "direct_url.json"
    url.write_text(f'{{"vcs_info": {{"commit_id": "{DETECTRON2_COMMIT}"}}}}')
    assert installation._detectron2_commit() == f"{DETECTRON2_COMMIT}, the tested one"


def test_the_status_is_1_if_nothing_works(monkeypatch, capsys):
    def fail():
        raise RuntimeError("operator torchvision::nms does not exist")

    for name in ("backbone", "torchvision", "runtime", "detectron2"):
        monkeypatch.setattr(installation, f"_run_{name}", fail)
    with pytest.raises(SystemExit, match="1"):
        main(["doctor"])
    output = capsys.readouterr().out
    assert output.count("does not work: ") == 4
    assert REINSTALL_TORCH in output
