"""The Python blocks of the guides, to be run by tests."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def recipes(page, section=None):
    """Return the Python blocks of a page, or of the section of this title."""
    text = (DOCS / page).read_text(encoding="utf-8")
    if section is not None:
        text = re.search(rf"^## {re.escape(section)}$(.*?)(?=^## |\Z)", text, re.M | re.S)[1]
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def run(recipe, **names):
    """Run a block and return its names."""
    exec(recipe, names)
    return names
