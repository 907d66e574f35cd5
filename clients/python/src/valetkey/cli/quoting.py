"""Values of others in lines of ours: none may look like a part of the line that it is not."""

import re

# Of what else stands in a line none could be made of these: no blank, no `=`, no quote. A lone `-` stands for nothing,
# `x9` for a count.
_BARE = re.compile(r"(?!-\Z|x\d+\Z)[A-Za-z0-9_.,:;/@#+*~$%?&\[\]()|!<>{}^-]+")


def quoted(text: str) -> str:
    """Returns `text` for a line of words and `name=value`: as it is where it cannot be mistaken, otherwise in quotes.

    In quotes, quotes and what is not printable are escaped: line breaks, what drives a terminal, what turns the
    direction of writing.
    """
    return text if _BARE.fullmatch(text) else repr(text)


def one_line(text: str) -> str:
    """Returns free text for a cell of a table: no line of it may look like another value."""
    return text.replace("\n", "\\n")
