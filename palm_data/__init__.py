"""Raw capture → annotations → release; knows no orchestrator.

The public surface is `open_release`; everything else is imported from its own module.
"""
