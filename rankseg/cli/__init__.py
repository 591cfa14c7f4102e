"""The command line, ``rankseg``; it needs the extra ``cli``, its import does not."""

from .errors import one_line_errors


def main() -> None:
    """Run the command line; the console script ``rankseg`` starts here."""
    with one_line_errors():
        from .app import app

        app(prog_name="rankseg")
