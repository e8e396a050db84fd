"""What people see: one console, one error style, structured logs."""

import logging
import sys

import structlog
from rich.console import Console

console = Console()


def configure_logs(*, verbose: bool, json_lines: bool) -> None:
    """Send structured logs to standard error: readable on a terminal, JSON lines for machines."""
    renderer = (
        structlog.processors.JSONRenderer() if json_lines else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG if verbose else logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
