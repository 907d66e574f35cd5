"""What every list can do: search, sort, pages, an address to share, and downloads."""
