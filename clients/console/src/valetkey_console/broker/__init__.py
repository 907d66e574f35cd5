"""The broker as the console sees it: called as the person, and its errors told as pages."""
