"""Structured logs: the libraries log events with fields through `logging`; here they become lines.

Quiet by default, since a terminal has progress bars and tables. `--verbose` shows each event, `--json-logs` writes one
JSON object a line for machines. Worker processes are told through the environment.
"""

import logging
import os
import sys

import structlog

_ROOTS = ("palm_data", "palm_model", "pipelines")
_MODE = "PALM_LOG_MODE"
_QUIET, _VERBOSE, _JSON = "quiet", "verbose", "json"


def configure_logs(*, verbose: bool, json_lines: bool) -> None:
    """Send logs to standard error, here and in the worker processes that are started from here."""
    os.environ[_MODE] = _JSON if json_lines else _VERBOSE if verbose else _QUIET
    configure_logs_as_told()


def configure_logs_as_told() -> None:
    """Send logs to standard error as the process that started this one does."""
    mode = os.environ.get(_MODE, _QUIET)
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.ExtraAdder(),
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.processors.TimeStamper(fmt="iso"),
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer()
            if mode == _JSON
            else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),
        ],
    )
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    for name in _ROOTS:
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(logging.WARNING if mode == _QUIET else logging.INFO)
        logger.propagate = False
