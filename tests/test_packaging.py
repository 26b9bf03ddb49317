"""The sdist and the wheel hold what a user needs, and the installed wheel works without the checkout."""

import ast
import email
import os
import re
import shutil
import subprocess
import sys
import tarfile
import textwrap
import tomllib
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest
from PIL import Image

from tests.runtime.exports import write_export

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
NOT_SOURCES = shutil.ignore_patterns(
    ".*_cache", ".git", ".venv", "__pycache__", "*.egg-info", "build", "dist", "output", "runs", "site"
)


def run(*command, cwd, **environment):
    inherited = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=cwd,
        env=inherited | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    """The sdist, and the wheel that is built from it; without network access."""
    pytest.importorskip("build")
    folder = tmp_path_factory.mktemp("distributions")
    # A build leaves files in the folder that it runs in, so it runs in a copy.
    shutil.copytree(ROOT, folder / "source", ignore=NOT_SOURCES)
    run("-m", "build", "--no-isolation", "--outdir", folder, cwd=folder / "source")
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return sdist, wheel


@pytest.fixture(scope="module")
def installed(distributions, tmp_path_factory):
    """A folder with the contents of the wheel and nothing else."""
    folder = tmp_path_factory.mktemp("installed")
    options = ("--no-deps", "--no-index", "--disable-pip-version-check", "--target", folder)
    run("-m", "pip", "install", *options, distributions[1], cwd=folder)
    return folder


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_nothing_else(distributions):
    with zipfile.ZipFile(distributions[1]) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    package = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "mvit_det").rglob("*")
        if path.is_file() and path.suffix in (".py", ".c", ".h", ".typed")
    }
    assert {
        "mvit_det/py.typed",
        "mvit_det/ops/native/attention.c",
        "mvit_det/ops/native/convolution.c",
    } <= package
    configs = {
        f"mvit_det/{path.relative_to(ROOT).as_posix()}"
        for path in (ROOT / "configs").rglob("*")
        if path.suffix in (".py", ".yaml")
    }
    assert {
        "mvit_det/configs/mask_rcnn_mvitv2_t_3x.py",
        "mvit_det/configs/mask_rcnn_mvitv2_t.yaml",
    } <= configs
    assert package | configs <= names
    assert {name.split("/")[0] for name in names} == {"mvit_det"}


@pytest.mark.slow
def test_the_metadata_name_the_license(distributions):
    with zipfile.ZipFile(distributions[1]) as wheel:
        (metadata_name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(wheel.read(metadata_name))
        license_name = metadata_name.replace("METADATA", "licenses/LICENSE")
        assert wheel.read(license_name).decode() == (ROOT / "LICENSE").read_text()
    assert metadata["License-Expression"] == "Apache-2.0"
    assert not [line for line in metadata.get_all("Requires-Dist") if "@" in line]  # an index refuses those


@pytest.mark.slow
def test_the_sdist_holds_what_the_tests_need(distributions):
    with tarfile.open(distributions[0]) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    expected = ("LICENSE", "CITATION.cff", "docs/index.md", "tests/conftest.py", "tools/train_net.py")
    configs = ("configs/mask_rcnn_mvitv2_t_3x.py", "configs/mask_rcnn_mvitv2_t.yaml")
    assert {*expected, *configs, "examples/serve/app.py"} <= names


@pytest.mark.slow
def test_the_installed_wheel_runs_without_the_checkout(installed, tmp_path):
    script = """
        from pathlib import Path
        import torch, mvit_det, mvit_det.ops.native
        from mvit_det.ops.native import attention
        maps = mvit_det.build_mvit("mvitv2_nano").eval()(torch.rand(1, 3, 45, 67))
        folder = Path(mvit_det.ops.native.__file__).parent
        print(Path(mvit_det.__file__).parent)
        print(maps["scale5"].shape[2:], *sorted(path.name for path in folder.glob("*.[ch]")))
    """
    script = "\n".join(line.strip() for line in script.splitlines())
    lines = run("-c", script, cwd=tmp_path, PYTHONPATH=str(installed)).splitlines()
    assert lines[0] == str(installed / "mvit_det")
    assert lines[1] == (
        "torch.Size([2, 3]) attention.c convolution.c maps.h roi_align.c vectors.h winograd.h"
    )
    info = run("-m", "mvit_det", "info", "mvitv2_nano", cwd=tmp_path, PYTHONPATH=str(installed))
    assert "1,246,112" in info


@pytest.mark.slow
def test_the_runtime_detects_without_pytorch(distributions, tmp_path):
    run("-m", "venv", tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    options = ("--disable-pip-version-check", "--retries", "1", "--timeout", "15")
    command = [python, "-m", "pip", "install", *options, f"{distributions[1]}[runtime]"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "Retrying" in done.stderr:  # what pip prints if it cannot connect
        pytest.skip("needs a package index")
    assert done.returncode == 0, done.stderr
    size = sum(path.stat().st_size for path in (tmp_path / "venv").rglob("*") if path.is_file())
    assert size < 400e6

    Image.new("RGB", (60, 40), "white").save(tmp_path / "white.png")
    script = f"""
        from importlib.util import find_spec
        from mvit_det.runtime import Detector
        detections = Detector({str(write_export(tmp_path / "export"))!r})("white.png")
        print(find_spec("torch"), detections.xyxy.tolist(), detections["class_name"])
        try:
            from mvit_det import build_mvit
        except ImportError as error:
            print(error)
    """

    def run_installed(*arguments):
        done = subprocess.run(
            [python, "-I", *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout + done.stderr

    assert run_installed("-c", textwrap.dedent(script)) == (
        0,
        "None [[15.0, 10.0, 45.0, 30.0], [0.0, 0.0, 60.0, 20.0]] ['bolt' 'nut']\n"
        "torch is not installed: pip install 'mvit_det[torch]'\n",
    )
    status, output = run_installed("-m", "mvit_det", "doctor")
    assert status == 0, output
    assert "\nruntime of exported detectors works\n" in output
    assert "\nbackbone does not work: torch is not installed: pip install 'mvit_det[torch]'\n" in output
    assert run_installed("-m", "mvit_det", "info", "mvitv2_t") == (
        2,
        "mvit-det: error: torch is not installed: pip install 'mvit_det[torchvision]'\n",
    )


def test_a_name_whose_packages_are_missing_names_the_command():
    script = """
        import sys, mvit_det
        sys.modules["torch"] = None
        for name in ("MViT", "Detector"):
            try:
                getattr(mvit_det, name)
            except ImportError as error:
                print(error)
    """
    lines = run("-c", textwrap.dedent(script), cwd=ROOT).splitlines()
    assert lines == [
        "torch is not installed: pip install 'mvit_det[torch]'",
        "torch is not installed: pip install 'mvit_det[torchvision]'",
    ]


def test_only_extras_with_pytorch_bring_it():
    extras = PROJECT["project"]["optional-dependencies"]
    for requirements in (PROJECT["project"]["dependencies"], extras["runtime"], extras["openvino"]):
        assert not [line for line in requirements if "torch" in line or "mvit_det" in line]
    for extra in ("torchvision", "detectron2"):
        assert "mvit_det[torch]" in extras[extra]


@pytest.mark.slow
@pytest.mark.skipif(find_spec("detectron2") is None, reason="needs Detectron2")
def test_the_installed_wheel_has_the_lazy_configs(installed, tmp_path):
    script = """
        from mvit_det.detectron2 import get_config
        cfg = get_config("cascade_mask_rcnn_mvitv2_t_3x")
        print(cfg.train.max_iter)
    """
    script = "\n".join(line.strip() for line in script.splitlines())
    assert run("-c", script, cwd=tmp_path, PYTHONPATH=str(installed)).split()[-1] == "67500"


def test_no_extra_names_a_url():
    extras = PROJECT["project"]["optional-dependencies"]
    assert not [line for lines in extras.values() for line in lines if "@" in line]


def test_detectron2_is_pinned_to_one_commit():
    (requirement,) = (line for line in PROJECT["dependency-groups"]["detectron2"] if "@ git+" in line)
    commit = requirement.rpartition("@")[2]
    for path in ("mvit_det/dependencies.py", "docs/guides/detectron2.md"):
        assert re.findall(r"\b[0-9a-f]{40}\b", (ROOT / path).read_text()) == [commit], path


def test_the_citation_has_the_version_of_the_package():
    (version,) = re.findall(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    source = (ROOT / "mvit_det" / "__init__.py").read_text()
    (node,) = (
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__version__"
    )
    assert version == ast.literal_eval(node.value)
