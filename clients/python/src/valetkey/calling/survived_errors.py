"""Who is told of what a client gets over by itself."""

from collections.abc import Callable

from valetkey.errors import ValetKeyError

# Told of an error that is got over by another try.
Interruption = Callable[[ValetKeyError], None]
