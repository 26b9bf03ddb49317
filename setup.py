"""Packages to install; everything else is in pyproject.toml.

The lazy configs in ``configs/`` are installed as ``mvit_det.configs``.
"""

from setuptools import find_namespace_packages, find_packages, setup

config_folders = find_namespace_packages("configs", exclude=["*__pycache__*"])
setup(
    packages=[
        *find_packages(include=["mvit_det*"]),
        "mvit_det.configs",
        *(f"mvit_det.configs.{folder}" for folder in config_folders),
    ],
    package_dir={"mvit_det.configs": "configs"},
)
