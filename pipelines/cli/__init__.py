"""The `palm` command: one module for each group of verbs, each importing what it needs only when it runs."""
