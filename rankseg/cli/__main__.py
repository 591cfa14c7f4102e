"""``python -m rankseg.cli`` is ``rankseg``."""

from . import main

main()
