"""The terms of a version whose publisher has set none."""


def default_terms() -> str:
    """LICENSE of a version whose publisher has not set terms."""
    return """Terms of use of this data

The publisher of this release has not attached terms of use. Until they do, no right to copy, share or publish this
data or anything recognisable derived from it is given beyond what the publisher has agreed with you in writing.

This data shows people's hands. The people shown gave consent to the publisher and may withdraw it. When a version
is published that leaves a person out, delete your copies of that person's data from earlier versions. Do not try to
find out who a person is.

To attach terms, set `release.terms` in palm.toml to a text file and publish a new version.
"""
