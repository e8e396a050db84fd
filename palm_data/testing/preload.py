"""What processes that are forked for tests have imported already."""

from contextlib import suppress

import pyarrow

import palm_data.loader.release
import palm_data.store.release
import palm_data.store.verify
import palm_data.testing.campaign.full_disk
import palm_data.testing.campaign.kills
import palm_data.testing.campaign.races  # noqa: F401

with suppress(ImportError):  # pyarrow looks for it the first time it hands out Python values
    import pandas  # noqa: F401
    import pyarrow.pandas_compat
pyarrow.array([1]).to_pylist()
