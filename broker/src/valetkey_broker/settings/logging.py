"""Settings of the log."""

from typing import Literal

from valetkey_broker.settings.section import Section


class LoggingSettings(Section):
    """What is logged, to standard output."""

    format: Literal["json", "console"] = "json"
    level: Literal["debug", "info", "warning", "error"] = "info"
