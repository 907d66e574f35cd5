"""Settings of the port for metrics."""

from pydantic import Field

from valetkey_broker.settings.section import Section


class MetricsSettings(Section):
    """Where metrics are told; nowhere without a port. It is plain HTTP: it belongs on loopback or a closed network."""

    host: str = "127.0.0.1"
    port: int | None = Field(default=None, ge=1, le=65535)

    @property
    def address(self) -> str:
        """Host and port as people write them, an IPv6 address in brackets; "" without a port."""
        if self.port is None:
            return ""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
