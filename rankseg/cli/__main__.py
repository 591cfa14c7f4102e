"""``python -m rankseg.cli`` is ``rankseg``."""

from rankseg.cli import main

main()
