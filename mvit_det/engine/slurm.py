"""Requeuing of a Slurm job that is about to end, and the recognition of a job that was requeued."""

import os
import subprocess

from mvit_det.engine.launchers import environment_integer

TIME_LIMIT = 30  # seconds for scontrol


def requeue() -> str:
    """Ask Slurm to run the job of this process again, and return a phrase that says whether it will."""
    job = os.environ["SLURM_JOB_ID"]
    try:
        done = subprocess.run(
            ["scontrol", "requeue", job], capture_output=True, text=True, timeout=TIME_LIMIT, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"job {job} was not requeued: {error}"
    if done.returncode != 0:
        return f"job {job} was not requeued: {' '.join(done.stderr.split()) or 'scontrol failed'}"
    return f"requeued job {job}, which continues"


def is_requeued() -> bool:
    """Return whether Slurm has started the job of this process before.

    Raises:
        InputError: if the environment variable SLURM_RESTART_COUNT is not a number.
    """
    return "SLURM_JOB_ID" in os.environ and environment_integer("SLURM_RESTART_COUNT", default="0") > 0
