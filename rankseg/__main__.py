"""``python -m rankseg`` is ``rankseg``."""

from .cli import main

main()
