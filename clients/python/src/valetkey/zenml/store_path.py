"""Where an artifact store lies, and what lies in it: `az://CONTAINER[/PREFIX]`, also written with `abfs://`."""

from dataclasses import dataclass

from valetkey.errors import InvalidArgumentError

SCHEMES = ("az://", "abfs://")
_EXPECTED = "expected az://CONTAINER or az://CONTAINER/PREFIX"


@dataclass(frozen=True, slots=True)
class StorePath:
    """The root of a store, without a slash at its end."""

    root: str

    @classmethod
    def parse(cls, text: str) -> "StorePath":
        """Returns the root that somebody registers. Raises InvalidArgumentError for what cannot be one."""
        root = text.rstrip("/") if _scheme(text) != text else text
        scheme = _scheme(root)
        parts = root[len(scheme) :].split("/")
        if not scheme or not parts[0]:
            raise InvalidArgumentError(f"path: {text!r} names no container; {_EXPECTED}")
        # ZenML keeps paths in its database, which is no place for what may stand behind a question mark.
        if "?" in root or "#" in root:
            raise InvalidArgumentError(f"path: {root.partition('?')[0]!r}… holds a ? or a #; {_EXPECTED}")
        if any(part in ("", ".", "..") for part in parts) or "\\" in root:
            raise InvalidArgumentError(f"path: {text!r} holds an empty part, a dot part or a backslash; {_EXPECTED}")
        return cls(root)

    @property
    def container(self) -> str:
        """The container as a resource of the broker: with the account, where the path names one."""
        scheme = _scheme(self.root)
        return scheme + self.root[len(scheme) :].partition("/")[0]

    def check(self, path: str) -> str:
        """Returns a path within the store as it is.

        Raises FileNotFoundError, as ZenML does, for what is outside: by whole parts, so that `az://c/zen` does not
        admit `az://c/zen-evil`, and without any part that leads up.
        """
        within = path == self.root or path.startswith(f"{self.root}/")
        if not within or any(part in (".", "..") for part in path[len(self.root) :].split("/")):
            raise FileNotFoundError(
                f"{path} is outside of the artifact store's bounds; expected {self.root} or a path below it, without "
                ". and .."
            )
        return path


def _scheme(text: str) -> str:
    return next((scheme for scheme in SCHEMES if text.startswith(scheme)), "")
