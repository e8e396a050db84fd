"""What other projects' tests may import: small raw sessions with known answers, written without a renderer."""
