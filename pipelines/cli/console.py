"""What people see: one console."""

from rich.console import Console

console = Console()
