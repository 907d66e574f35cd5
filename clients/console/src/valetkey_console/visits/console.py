"""What all requests share."""

from collections.abc import Sequence

from jinja2 import Environment

from valetkey_console.broker.clients import Clients
from valetkey_console.openid.log_ins import LogIns
from valetkey_console.sessions.cookie_sessions import Sessions
from valetkey_console.sessions.cookies import SealedCookie
from valetkey_console.sessions.sealing import Seal
from valetkey_console.settings import Settings
from valetkey_console.visits.rendering import environment
from valetkey_console.visits.routing import Section


class Console:
    """One console: its settings, sections, sessions, connections and templates."""

    def __init__(self, settings: Settings, sections: Sequence[Section]) -> None:
        """Raises SettingsError, of ours or of `valetkey`, where a file cannot be used."""
        seal = Seal.from_file(settings.session_key_file)
        self.settings = settings
        self.sections = sorted(sections, key=lambda section: section.order)
        self.sessions = Sessions(seal)
        # What the page after a form says once.
        self.said = SealedCookie(seal, "said")
        self.seal = seal
        self.log_ins = LogIns(settings)
        self.clients = Clients(settings.endpoint, settings.ca_file)
        self.templates: Environment = environment(settings.base_path)
