"""The version of the code, the one place it is written."""

VERSION = "0.1.0"
