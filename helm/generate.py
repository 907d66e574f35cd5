"""Renews what follows from elsewhere: the chart's values, in its README and on a page, and the schema of `config`.

`make chart` runs it. With --check it changes nothing, and ends with 1 where something is not current.
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from valetkey_broker.settings import Settings

CHART = Path(__file__).parent / "valetkey"
PAGE = Path(__file__).parents[1] / "docs" / "chart-values.md"
_TABLE = re.compile(r"(?<=<!-- values -->\n).*(?=<!-- end of values -->)", re.DOTALL)
_PARAM = re.compile(r"## @param (\S+) (.+)")
# What the chart itself gives, or the broker where a built-in cloud is meant, so that `config` need not.
_GIVEN = ("Settings", "ServerSettings", "VaultSettings", "CloudSettings")


def schema() -> str:
    """Returns the chart's schema with the settings of this broker under `config`; all else in it is kept by hand."""
    whole = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    settings = Settings.model_json_schema()
    definitions = {**settings.pop("$defs"), "Settings": settings}
    for name in _GIVEN:
        definitions[name].pop("required", None)
    whole["$defs"] = definitions
    return json.dumps(whole, indent=2) + "\n"


def values() -> str:
    """Returns a table row for each value. Raises ValueError where one is not described."""
    text = (CHART / "values.yaml").read_text(encoding="utf-8")
    described = [match.group(1) for match in _PARAM.finditer(text)]
    defaults = dict(_leaves(yaml.safe_load(text), set(described)))
    if missing := sorted(defaults.keys() ^ set(described)):
        raise ValueError(f"values.yaml: described and not there, or there and not described: {', '.join(missing)}")
    lines = []
    for line in text.splitlines():
        if match := _PARAM.match(line):
            path, what = match.groups()
            default = json.dumps(defaults[path]).replace("|", "\\|")
            lines.append(f"| `{path}` | {what} | `{default}` |")
        elif line.startswith("## "):
            lines += ["", f"### {line.removeprefix('## ')}", "", "| value | meaning | default |", "| --- | --- | --- |"]
    return "\n".join(lines) + "\n\n"


def readme() -> str:
    """Returns the chart's README with its table. Raises ValueError where a value is not described."""
    return _TABLE.sub(lambda _: values(), (CHART / "README.md").read_text(encoding="utf-8"))


def page() -> str:
    """Returns the page of the docs with the same table."""
    table = values().replace("\n### ", "\n## ").rstrip()
    return (
        "# Values of the chart\n\nEvery value of `helm/valetkey`, as its `values.yaml` describes it. "
        f"How they belong together: [The broker in Kubernetes](deploy-kubernetes.md).\n{table}\n"
    )


def _leaves(values: Any, described: set[str], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Gives every value that has no values of its own, or is described as a whole."""
    for name, value in values.items():
        path = f"{prefix}{name}"
        if isinstance(value, dict) and value and path not in described:
            yield from _leaves(value, described, f"{path}.")
        else:
            yield path, value


def main() -> None:
    """Writes the files, or with --check says which are not current."""
    stale = []
    for file, text in ((CHART / "README.md", readme()), (CHART / "values.schema.json", schema()), (PAGE, page())):
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            stale.append(file.name)
            if "--check" not in sys.argv:
                file.write_text(text, encoding="utf-8")
    if stale and "--check" in sys.argv:
        sys.exit(f"helm/valetkey: not current: {', '.join(stale)}; run: make chart")


if __name__ == "__main__":
    main()
