"""How calls are made: their requests sent and sent again, by a thread or by a task."""
