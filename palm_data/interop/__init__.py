"""Other people's formats: what a release becomes for code that is not ours."""
