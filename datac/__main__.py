"""`python -m datac` is `datac`."""

from datac.cli import main

main()
