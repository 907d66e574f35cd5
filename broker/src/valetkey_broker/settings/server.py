"""Settings of the port that the broker serves on."""

from pathlib import Path

from pydantic import Field

from valetkey_broker.settings.section import Seconds, Section


class ServerSettings(Section):
    """Where and how the broker serves. There is no plaintext port."""

    host: str = "127.0.0.1"
    port: int = Field(default=8443, ge=1, le=65535)
    tls_cert_file: Path
    tls_key_file: Path
    # Caps: a caller's own, shorter deadline holds; a longer or missing one is cut to this.
    max_deadline_seconds: Seconds = 60.0
    # Room for 1,000 requests in one call, with ids of some 400 characters.
    max_message_bytes: int = Field(default=512 * 1024, ge=1024, le=4 * 1024 * 1024)
    grace_seconds: Seconds = 10.0
    # Below the 240 s after which Azure's load balancers forget a silent connection.
    keepalive_seconds: float = Field(default=60.0, ge=10, lt=240)
    max_connection_idle_seconds: float = Field(default=200.0, gt=0, lt=240)
    # Clients stay on a connection while it lasts: new replicas get their share as old connections end.
    max_connection_age_seconds: Seconds = 600.0
    max_connection_age_grace_seconds: Seconds = 3600.0
    # Of one process, as are the calls.
    max_connections: int = Field(default=5000, ge=1)
    max_calls_per_connection: int = Field(default=1000, ge=1)
    max_calls: int = Field(default=5000, ge=1)
    workers: int = Field(default=1, ge=1, le=64)

    @property
    def address(self) -> str:
        """Host and port as gRPC and people write them, an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
