"""Each way in which Detectron2 fails, by the real error, and the command ``mvit-det doctor``."""

import os
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

from mvit_det.cli import doctor
from mvit_det.cli.main import main
from mvit_det.dependencies import COMMIT, INSTALL, REINSTALL, explain_detectron2

ROOT = Path(__file__).parents[2]
SEVERAL_LINES = "no\nway"


def run(folder, *arguments):
    """Run Python where the packages in ``folder`` come first."""
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
    """Put a package ``detectron2`` that runs ``code`` when it is imported into ``folder``."""
    (folder / "detectron2").mkdir()
    (folder / "detectron2" / "__init__.py").write_text(code)
    return folder


def explain(folder, code):
    """Return what a failing ``import mvit_det.detectron2`` says."""
    catch = "try:\n import mvit_det.detectron2\nexcept ImportError as error:\n"
    catch += " assert error.__cause__ is not None\n print(error)"
    done = run(fake_detectron2(folder, code), "-c", catch)
    assert done.stdout.count("\n") == 1, done.stderr
    return done.stdout.strip()


def test_the_commit_is_that_of_the_project_file():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    detectron2 = project["optional-dependencies"]["detectron2"]
    assert any(line.startswith("detectron2 @ ") and line.endswith(f"@{COMMIT}") for line in detectron2)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (
            "raise ModuleNotFoundError('none', name='detectron2')",
            ("Detectron2 is not installed (no module detectron2)", INSTALL),
        ),
        ("", ("Detectron2 is not installed (no module detectron2.layers)", INSTALL)),
        (
            "import sys; sys.modules['pkg_resources'] = None; import pkg_resources",
            ("pkg_resources", "pip install 'setuptools<81'"),
        ),
        ("from PIL import Image; Image.LINEAR", ("too old for the Pillow", "'LINEAR'", REINSTALL)),
        ("import numpy; numpy.float", ("too old for the NumPy", "'float'", REINSTALL)),
        ("import no_such.package", ("needs no_such, which is not", "pip install no_such")),
        ("import sys; sys.modules['cv2'] = None; import cv2", ("cv2", "pip install opencv-python")),
        ("from detectron2 import _C", ("compiled part", "not built for torch", REINSTALL)),
        (
            "raise ImportError('/a/detectron2/_C.so: undefined symbol: _ZN3c10')",
            ("not built for torch", "undefined symbol: _ZN3c10", REINSTALL),
        ),
        ("from os import NO_CONFIG", ("cannot be used", "'NO_CONFIG'", "known to work", REINSTALL)),
    ],
)
def test_the_cause_and_the_line_that_mends_it(tmp_path, code, expected):
    line = explain(tmp_path, code)
    for text in expected:
        assert text in line


def test_an_older_detectron2_lacks_something(tmp_path):
    (fake_detectron2(tmp_path, "") / "detectron2" / "layers.py").touch()
    done = run(tmp_path, "-c", "import mvit_det.detectron2")
    assert "Detectron2 cannot be used (ImportError: cannot import name 'ShapeSpec'" in done.stderr


def test_any_error_is_one_line_of_some_length():
    assert explain_detectron2(RuntimeError(SEVERAL_LINES)).startswith(
        "Detectron2 cannot be used (RuntimeError: no way)"
    )
    assert len(explain_detectron2(OSError("long " * 1000))) < 700


def test_the_command_where_detectron2_is_missing(tmp_path):
    done = run(
        fake_detectron2(tmp_path, "raise ModuleNotFoundError('none', name='detectron2')"),
        "-m",
        "mvit_det",
        "doctor",
    )
    assert done.returncode == 0, done.stderr
    assert "\nbackbone works\n" in done.stdout
    assert "\ntorchvision home (mvit-det train ...) works\n" in done.stdout
    cause = f"Detectron2 is not installed (no module detectron2): {INSTALL}"
    assert done.stdout.endswith(f"\nDetectron2 home (tools/) does not work: {cause}\n")


def test_the_command_where_all_works(capsys):
    pytest.importorskip("detectron2.modeling", reason="Detectron2 is not installed")
    main(["doctor"])
    lines = capsys.readouterr().out.splitlines()
    for line in ("  compiled part loads", "  model_zoo     loads", "Detectron2 home (tools/) works"):
        assert line in lines


def test_the_command_where_everything_breaks(tmp_path):
    """Packages that end the interpreter or raise what nobody expects, and one that is half there."""
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
    assert f"  commit        abc, not the one known to work, {COMMIT}" in lines
    assert any(
        line.startswith("  compiled part does not load: Detectron2's compiled part was not") for line in lines
    )
    assert "backbone works" in lines
    assert any(
        line.startswith("torchvision home (mvit-det train ...) does not work: SystemExit") for line in lines
    )
    assert lines[-1].startswith("Detectron2 home (tools/) does not work: ")


def test_the_commit(monkeypatch, tmp_path):
    (tmp_path / "detectron2-0.6.dist-info").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert doctor._commit() == "unknown: not installed from git"
    url = tmp_path / "detectron2-0.6.dist-info" / "direct_url.json"
    url.write_text(f'{{"vcs_info": {{"commit_id": "{COMMIT}"}}}}')
    assert doctor._commit() == f"{COMMIT}, known to work"


def test_nothing_works(monkeypatch, capsys):
    def fail():
        raise RuntimeError("operator torchvision::nms does not exist")

    for home in ("backbone", "torchvision", "detectron2"):
        monkeypatch.setattr(doctor, f"_run_{home}", fail)
    assert not doctor.doctor()
    shown = capsys.readouterr().out
    assert shown.count("does not work: ") == 3
    assert "pip install --force-reinstall torch torchvision" in shown
