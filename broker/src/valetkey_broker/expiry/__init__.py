"""What ends when, who says so, and what mends it: listed for operators, and told once a day in the log."""
