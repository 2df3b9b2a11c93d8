"""`python -m weighhouse`: the command line."""

from weighhouse.doors.cli.main import main

main()
