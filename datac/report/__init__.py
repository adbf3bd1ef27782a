"""Documents in, one self-contained page out: the report of a build or of a search."""
