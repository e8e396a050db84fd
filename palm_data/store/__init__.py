"""Where bytes live: the workspace of stages, subject shards, releases and their verification."""
