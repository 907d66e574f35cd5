"""Whether a grant's pattern means a container, as the broker compares them (docs/grants.md, Patterns)."""


def reaches(pattern: str, container: str) -> bool:
    """Tells whether `*` in the pattern, one or more characters each time, can stand for what the name has there.

    Of system containers such as `$web` it stands for no part: they are named in full. Takes time by the length alone,
    whatever the pattern.
    """
    first, *others = pattern.split("*")
    if not others or container.startswith("$"):
        return pattern == container
    if not container.startswith(first):
        return False
    *inner, last = others
    at = len(first)
    for piece in inner:
        found = container.find(piece, at + 1)
        if found < 0:
            return False
        at = found + len(piece)
    return container.endswith(last) and len(container) - len(last) > at
