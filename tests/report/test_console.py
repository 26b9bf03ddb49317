import io

from rich.console import Console
from rich.table import Table

from mvit_det.report.console import PlainConsole, metrics_tables

VALUES = {"AP": 12.34, "AP50": 50.0, "AP75": 0.0, "APs": None, "APm": 1.0, "APl": 2.0}


def test_tables_show_every_metric_and_class():
    metrics = {
        "box": VALUES | {"per_class": {"nut": 10.0, "[/bolt]": None}},
        "mask": VALUES | {"per_class": {"nut": 20.0, "[/bolt]": 5.0}},
    }
    console = Console(width=80, markup=False)
    with console.capture() as output:
        console.print(*metrics_tables(metrics), sep="\n")
    rows = [line.translate({ord("│"): " ", ord("|"): " "}).split() for line in output.get().splitlines()]
    assert ["box", "12.3", "50.0", "0.0", "-", "1.0", "2.0"] in rows
    assert ["[/bolt]", "-", "5.0"] in rows


def test_text_from_files_is_printed_literally():
    output = io.StringIO()
    console = PlainConsole(file=output, width=80)
    table = Table("class")
    table.add_row("[red]\x1b[31mnut\u202e[/]")
    console.print("a.json: [bold]\x1b]0;title\x07\nsecond line")
    console.print(table)
    assert "a.json: [bold]\\x1b]0;title\\x07\nsecond line\n" in output.getvalue()
    assert "[red]\\x1b[31mnut\\u202e[/]" in output.getvalue()
