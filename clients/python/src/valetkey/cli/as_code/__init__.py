"""`valetkey apply` and `export`: connectors and grants as files that are kept in git."""
