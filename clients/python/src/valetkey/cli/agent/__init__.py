"""`valetkey agent`: files, and proxies, that lead a pod's other containers to storage, kept fresh."""
