"""The words of the domain: frozen pydantic models, and the Arrow and JSON schemas derived from them.

Imports nothing else of this project. Units, frames and conventions are stated in each field's description
and, as a whole, in `docs/conventions.md`.
"""
