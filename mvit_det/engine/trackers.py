"""The experiment trackers that a training run can log to, besides its own files."""

import os
from importlib.util import find_spec
from pathlib import Path

from mvit_det.errors import DependencyError, unknown_name

TRACKERS = {  # name of the package -> title, environment variable with the name of the project
    "wandb": ("Weights & Biases", "WANDB_PROJECT"),
    "mlflow": ("MLflow", "MLFLOW_EXPERIMENT_NAME"),
}


def check_tracker(name: str | None) -> None:
    """Check that an experiment tracker is known and installed.

    Raises:
        InputError: if ``name`` is neither None nor in :data:`TRACKERS`.
        DependencyError: if the package is not installed.
    """
    if name is None:
        return
    if name not in TRACKERS:
        raise unknown_name("logger", name, TRACKERS)
    if find_spec(name) is None:
        raise DependencyError(f"{TRACKERS[name][0]} is not installed: pip install {name}")


def project_name(name: str) -> str:
    """Return the name of the project that contains the runs, which an environment variable can set."""
    return os.environ.get(TRACKERS[name][1], "mvit_det")


def mlflow_uri(folder: Path) -> str:
    """Return where MLflow stores runs: MLFLOW_TRACKING_URI or, if it is not set, a database in ``folder``."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder.absolute() / 'mlflow.db'}"
