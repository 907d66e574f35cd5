"""What the agent's configuration may say, and how what it may not is told: by key and line."""

import os
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valetkey.cli.agent import configuration_file, output_texts
from valetkey.cli.agent.configuration_file import read_plan
from valetkey.cli.agent.toml_line_numbers import line_of
from valetkey.errors import SettingsError

FIRST = '# a comment\n\n[[resource]]\nresource = "az://models"\npermissions = ["read"]\n'  # five lines
OUTPUT = '[[resource.output]]\npath = "sas"\nformat = "sas"\n'  # lines 6 to 8
PROXY = "[resource.proxy]\nport = 8765\n"


def test_all_that_it_may_say(tmp_path: Path) -> None:
    """Protects the example of the docs: each key means what it says, and paths are meant from where the file is."""
    (tmp_path / "blobfuse.in").write_text("sas: $sas_token\n")
    file = tmp_path / "agent.toml"
    file.write_text(
        'readiness_file = "ready"\r\nremove_on_exit = true\r\n'
        '[[resource]]\nname = "weights"\nresource = "az://models/a/"\npermissions = ["read", "list"]\nttl = "1h30m"\n'
        'connector = "c"\nsource_ip = "10.0.0.1"\npurpose = "p"\non_renewal = ["a", "b"]\non_renewal_timeout = "5s"\n'
        + PROXY
        + '[[resource.output]]\npath = "x/env"\nformat = "env"\nmode = "0640"\ngroup = 7\nthrough_proxy = true\n'
        '[[resource.output]]\npath = "/run/out"\ntemplate = "blobfuse.in"\nmode = "0444"\nworld_readable = true\n'
    )
    plan = read_plan(file)
    (resource,) = plan.resources
    assert (plan.readiness_file, plan.remove_on_exit) == (tmp_path / "ready", True)
    assert resource.scope.arguments() == {
        "resource": "az://models/a/",
        "permissions": ("read", "list"),
        "ttl": timedelta(minutes=90),
        "connector": "c",
        "source_ip": "10.0.0.1",
        "purpose": "p",
    }
    assert resource.command is not None
    assert (resource.name, resource.port, resource.command.arguments, resource.command.seconds) == (
        *("weights", 8765, ("a", "b")),
        5.0,
    )
    env, out = resource.outputs
    assert (env.path, env.form, env.mode, env.gid, env.through_proxy) == (tmp_path / "x/env", "env", 0o640, 7, True)
    assert (out.path, out.template, out.mode) == (Path("/run/out"), "sas: $sas_token\n", 0o444)
    assert plan.warnings == ("/run/out can be read by every user of this machine: world_readable = true",)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "agent.toml, line 1: resource: there is none"),
        ("[resource]\n", "line 1: resource: it is not a list of tables; expected [[resource]]"),
        ("\nreadynes = 'x'\n" + FIRST, "line 2: readynes: the key is unknown; expected readiness_file"),
        ('remove_on_exit = "yes"\n' + FIRST, "line 1: remove_on_exit: 'yes' is neither true nor false"),
        (FIRST, "line 3: resource: nothing is kept for it; expected [[resource.output]], or [resource.proxy]"),
        ('[[resource]]\npermissions = ["read"]\n' + OUTPUT, "line 1: resource.resource: it is missing"),
        ('[[resource]]\nresource = "az://m"\n' + OUTPUT, "line 1: resource.permissions: it is missing"),
        (
            '[[resource]]\nresource = "az://m"\n\npermissions = [\n  "read",\n  "reed",\n]\n' + OUTPUT,
            "line 4: resource.permissions: 'reed' is unknown; expected some of read,",
        ),
        (
            FIRST.replace('["read"]', '"read,list"') + OUTPUT,
            'line 5: resource.permissions: expected a list of strings such as ["read", "list"]',
        ),
        (FIRST.replace('["read"]', "7") + OUTPUT, "line 5: resource.permissions: expected a list of strings such as"),
        (FIRST + 'ttl = "soon"\n' + OUTPUT, "line 6: resource.ttl: 'soon' is not a duration"),
        (FIRST + "ttl = 900\n" + OUTPUT, "line 6: resource.ttl: 900 is not a string"),
        (FIRST + 'ttl = "0s"\n' + OUTPUT, "line 6: resource.ttl: '0s' is no life"),
        (FIRST + "on_renewal = []\n" + OUTPUT, "line 6: resource.on_renewal: expected a list of strings"),
        (FIRST + 'on_renewal_timeout = "5s"\n' + OUTPUT, "line 6: resource.on_renewal_timeout: there is no on_renewal"),
        (
            FIRST + 'on_renewal = ["a"]\non_renewal_timeout = "2h"\n' + OUTPUT,
            "line 7: resource.on_renewal_timeout: '2h' is out of range; expected up to 1h",
        ),
        (FIRST + OUTPUT + "mod = 1\n", "line 9: resource.output.mod: the key is unknown; expected path,"),
        (FIRST + OUTPUT.replace("path", "paht"), "line 7: resource.output.paht: the key is unknown"),
        (FIRST + '[[resource.output]]\nformat = "sas"\n', "line 6: resource.output.path: it is missing"),
        (FIRST + OUTPUT.replace('"sas"', '""', 1), "line 7: resource.output.path: '' is not a string"),
        (FIRST + OUTPUT.replace('"sas"', '"a/"', 1), "line 7: resource.output.path: a/ is no path of a file"),
        (FIRST + OUTPUT.replace('format = "sas"\n', ""), "line 6: resource.output.format: expected either format or"),
        (FIRST + OUTPUT + 'template = "t"\n', "line 8: resource.output.format: expected either format or template"),
        (FIRST + OUTPUT.replace('format = "sas"', 'format = "yaml"'), "line 8: resource.output.format: 'yaml' is unk"),
        (FIRST + OUTPUT + 'mode = "rw"\n', "line 9: resource.output.mode: 'rw' is no mode; expected octal"),
        (
            FIRST + OUTPUT + "mode = 640\n",
            "line 9: resource.output.mode: a number is no mode; expected octal digits in",
        ),
        (FIRST + OUTPUT + "mode = 0640 # group\n", 'a mode stands in quotes, such as mode = "0640"'),
        (FIRST + OUTPUT + 'mode = "0660"\n', "line 9: resource.output.mode: 0660 is not for files that are read"),
        (FIRST + OUTPUT + 'mode = "4600"\n', "line 9: resource.output.mode: '4600' is no mode"),
        (FIRST + OUTPUT + 'mode = "0644"\n', "line 9: resource.output.mode: 0644 lets every user of this machine use"),
        (FIRST + OUTPUT + "world_readable = true\n", "line 9: resource.output.world_readable: mode 0600 lets not all"),
        (FIRST + OUTPUT + 'group = "no-such-group"\n', "line 9: resource.output.group: there is no group 'no-such-gr"),
        (FIRST + OUTPUT + "group = -1\n", "line 9: resource.output.group: -1 is not a whole number from 0"),
        (FIRST + OUTPUT + "through_proxy = true\n", "line 9: resource.output.through_proxy: the resource has no proxy"),
        (FIRST + OUTPUT * 2, "line 10: resource.output.path: "),
        (FIRST + OUTPUT.replace('"sas"', '"./x/../sas"', 1) + OUTPUT, "is an output already; expected a path of its"),
        (FIRST + OUTPUT.replace('"sas"', '"agent.toml"', 1), "agent.toml is the configuration itself already"),
        ('readiness_file = "sas"\n' + FIRST + OUTPUT, "sas is the readiness file already"),
        (FIRST + "[resource.proxy]\n" + OUTPUT, "line 6: resource.proxy.port: it is missing"),
        (FIRST + "[resource.proxy]\nport = 70000\n", "line 7: resource.proxy.port: 70000 is not a whole number from 0"),
        (FIRST + "[resource.proxy]\nport = 0\n", "line 6: resource.proxy: port 0 is a free one, and no output says"),
        (FIRST + PROXY + FIRST + PROXY, "line 14: resource.proxy.port: 8765 is that of az://models already"),
        (
            FIRST + '[[resource.output]]\npath = "a"\ntemplate = "none"\n',
            "line 8: resource.output.template: the template: there is no file",
        ),
        (
            FIRST + '[[resource.output]]\npath = "a"\ntemplate = "in"\n',
            "line 8: resource.output.template: in, line 2: $nothing is unknown; expected account,",
        ),
        (
            FIRST + '[[resource.output]]\npath = "a"\ntemplate = "good"\n' + OUTPUT.replace('"sas"', '"good"', 1),
            "line 8: resource.output.template: ",
        ),
        ("resource = [\n", "is not TOML: "),
        ("a\0b", "is not TOML: "),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text: str, says: str, tmp_path: Path) -> None:
    """Protects whoever writes it: the key, the line, what was wrong and what is expected."""
    (tmp_path / "in").write_text("$$ is a dollar\n${nothing}\n")
    (tmp_path / "good").write_text("$sas_token\n")
    file = tmp_path / "agent.toml"
    file.write_text(text)
    with pytest.raises(SettingsError) as caught:
        read_plan(file)
    assert says in caught.value.message


def test_a_file_that_is_none(tmp_path: Path) -> None:
    """Protects against a message of Python's for a path that was mistyped, and for what is no text."""
    for path, says in ((tmp_path / "none", "there is no file"), (tmp_path, "cannot be read: Is a directory")):
        with pytest.raises(SettingsError, match=says):
            read_plan(path)
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="is not text; expected UTF-8"):
        read_plan(tmp_path / "binary")
    (tmp_path / "large").write_bytes(b"#" * (1024 * 1024 + 1))
    with pytest.raises(SettingsError, match="is larger than 1048576 bytes"):
        read_plan(tmp_path / "large")


def test_a_link_to_the_folder_is_no_other_folder(tmp_path: Path) -> None:
    """Protects against two outputs in one file by way of another name of its folder."""
    (tmp_path / "real").mkdir()
    (tmp_path / "other").symlink_to("real")
    file = tmp_path / "agent.toml"
    both = (OUTPUT.replace('"sas"', f'"{name}/sas"', 1) for name in ("real", "other"))
    file.write_text(FIRST + "".join(both))
    with pytest.raises(SettingsError, match=r"line 10: resource\.output\.path: .* is an output already"):
        read_plan(file)


@pytest.mark.parametrize(
    ("template", "through", "says"),
    [
        ("$sas_url ${expires_epoch} $$HOME", False, ""),
        ("one\ntwo $", False, "line 2: a $ stands alone; expected $$ for itself"),
        ("${sas_token", False, "line 1: a $ stands alone"),
        ("$expires", True, "line 1: $expires is unknown"),
        ("$SAS_TOKEN", False, "line 1: $SAS_TOKEN is unknown"),
        ("$sas_tokén", False, "line 1: $sas_tok is unknown"),
    ],
)
def test_templates_are_checked_beforehand(template: str, through: bool, says: str) -> None:
    """Protects readers from a file that stops being written in mid-run: what a template names is known at the start."""
    found = output_texts.problem_of(template, through_proxy=through)
    assert found.startswith(says)
    assert bool(found) == bool(says)


_KEYS = st.lists(st.sampled_from("abcdefg"), unique=True, min_size=1)
_VALUES = st.sampled_from(["1", '"x"', "[\n  1,\n  2,\n]", '"""\nkey = 1\n"""', "{ a = 1 }", "'#'"])


@given(keys=_KEYS, values=st.lists(_VALUES, min_size=7, max_size=7), gap=st.sampled_from(["", "\n", "# c = 1\n\n"]))
def test_the_line_of_a_key_is_the_one_that_it_stands_on(keys: list[str], values: list[str], gap: str) -> None:
    """Protects the lines of errors: over several lines, behind comments, and in strings that look like keys."""
    text, expected = "", {}
    for table in range(2):
        text += f"{gap}[[t]]\n"
        for key, value in zip(keys, values, strict=False):
            text += gap
            expected["t", table, key] = text.count("\n") + 1
            text += f"{key} = {value}\n"
    assert {path: line_of(text, path) for path in expected} == expected
    assert line_of(text, ("t", 2)) == 0


def test_the_docs_are_true(tmp_path: Path) -> None:
    """Protects readers of docs/agent.md: its example can be used, and its tables have every key, form and name."""
    text = (Path(__file__).parents[4] / "docs" / "agent.md").read_text()
    file = tmp_path / "agent.toml"
    file.write_text(text.partition("```toml\n")[2].partition("```")[0])
    models, runs = read_plan(file).resources
    assert (len(models.outputs), runs.port, runs.outputs[0].through_proxy) == (2, 8765, True)
    keys = (
        *configuration_file._TOP,
        *configuration_file._RESOURCE,
        *configuration_file._KEPT,
        *configuration_file._OUTPUT,
        *output_texts.WORDS,
    )
    assert [key for key in keys if f"`{key}`" not in text and f"[resource.{key}]" not in text] == []
    assert [name for name in (*output_texts._OF_ACCESS, *output_texts._OF_TOKEN) if f"`${name}`" not in text] == []


def test_nothing_of_root_is_needed(tmp_path: Path) -> None:
    """Protects pods that run as somebody: a group is looked up by its name or taken as a number."""
    file = tmp_path / "agent.toml"
    file.write_text(FIRST + OUTPUT + f"group = {os.getgid()}\n")
    assert read_plan(file).outputs[0].gid == os.getgid()
