"""Writing of matplotlib's figures."""

from io import BytesIO
from pathlib import Path

from matplotlib.figure import Figure

from mvit_det.files import write_file


def write_figure(path: Path, figure: Figure) -> None:
    """Write a figure as a PNG file."""
    content = BytesIO()
    figure.savefig(content, dpi=100, format="png")
    write_file(path, content.getvalue(), durable=False)
