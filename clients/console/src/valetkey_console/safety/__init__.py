"""What every request has to pass, and every answer carries, whichever page it is for."""
