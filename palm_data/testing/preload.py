"""What processes that are forked for tests have imported already."""

import palm_data.loader.release
import palm_data.store.release
import palm_data.store.verify
import palm_data.testing.tiny  # noqa: F401
