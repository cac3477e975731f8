"""Tables on standard output."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table


def print_table(table: Table) -> None:
    """Print a table; where the reader left, the error is Python's own and not rich's exit."""
    console = Console()
    with console.capture() as captured:
        console.print(table, markup=False)
    print(captured.get(), end="")
