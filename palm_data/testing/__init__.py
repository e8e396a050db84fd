"""What other projects' tests may import: small sessions and releases with known answers, and faults on purpose.

`docs/testing.md` lists it. Nothing here needs pytest.
"""
