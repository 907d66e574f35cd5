"""The only room that speaks gRPC: server, guard, status mapping, and one thin module per service."""
