"""Looking at a release in a browser: what is shown of a capture, and the page that shows it.

`selection` and `scene` know no server; `page` and `server` need the optional extra `view`.
"""
