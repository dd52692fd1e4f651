"""`python -m posthorn`: the same as the `posthorn` command."""

from posthorn.cli import main

main()
