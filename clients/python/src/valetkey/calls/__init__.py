"""What each call asks and how its answer is read, one file a group: no I/O, and the same for both clients."""
