"""Groups of the client's calls, one file each."""
