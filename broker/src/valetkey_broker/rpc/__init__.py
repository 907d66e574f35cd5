"""The transport: server, guard, status mapping, health, TLS. It knows no service; it is handed those of api/."""
