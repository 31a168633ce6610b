"""Own checks of HOT templates, for what Heat's engine lets pass: it looks at one set of parameters, they at all.

Each fault is one sentence. Nothing is read but the files that are named, and nothing is asked of a cloud.
"""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

__all__ = ["check", "check_environment", "check_folder", "check_user_data", "main"]

# Keys of cloud-config that something in the image reads; a misspelt one is nothing to cloud-init, and it goes on.
KEYS = Path(__file__).resolve().parents[1] / "image" / "cloud-init" / "keys"
WRITE_FILE = {"path", "content", "permissions", "owner", "encoding", "append", "defer"}
# The ports that are read; a function without port security on them sees only frames to its own address.
READ_PORT = re.compile(r"n[346](_|$)")
SECRET = re.compile(r"(secret|password|pseudonym_key|_keys$|token)")
PRIVATE = re.compile(r"BEGIN [A-Z ]*PRIVATE KEY")
PLACE = re.compile(r"%[a-z_]+%")
REFERENCES = {"get_param": "parameters", "get_resource": "resources", "get_attr": "resources"}
PSEUDO = {"OS::stack_name", "OS::stack_id", "OS::project_id", "OS::no_value"}
# NETCONF, and the feed with its snapshots.
OPEN = {(830, 830), (5556, 5557)}
# Functions of HOT 2021-04-16. Where a map may have any key, a misspelt one is a value to the engine.
FUNCTIONS = {
    *("get_param", "get_resource", "get_attr", "get_file", "if", "list_join", "list_concat", "list_concat_unique"),
    *("map_merge", "map_replace", "repeat", "resource_facade", "str_replace", "str_replace_strict"),
    *("str_replace_vstrict", "str_split", "digest", "filter", "make_url", "yaql"),
}
OUTPUT = {"description", "value", "condition"}


def main(arguments: list[str], here: Path) -> int:
    """Look at a folder, *here* without an argument, and return the exit status."""
    if len(arguments) > 1 or arguments[:1] in (["-h"], ["--help"]):
        print("usage: deploy/openstack/check [FOLDER]", file=sys.stderr)
        return 2
    folder = Path(arguments[0]) if arguments else here
    if not list(folder.glob("*.yaml")):
        print(f"{folder} has no templates: give a folder with files that end in .yaml.", file=sys.stderr)
        return 2
    faults = list(check_folder(folder))
    for fault in faults:
        print(fault)
    return 1 if faults else 0


def check_folder(folder: Path) -> Iterator[str]:
    """Yield what is wrong with the templates of a folder, and with the environments beneath it."""
    templates = [path for path in sorted(folder.glob("*.yaml")) if not path.name.startswith("first-boot")]
    wrong = False
    for path in templates:
        for fault in _formed(check(path)):
            wrong = True
            yield f"{path.name}: {fault}"
    # An environment is compared with all templates, so they have to be well first.
    for path in sorted(folder.glob("env/*.yaml")) if not wrong else ():
        yield from (f"env/{path.name}: {fault}" for fault in _formed(check_environment(path, templates)))


def _formed(faults: Iterator[str]) -> Iterator[str]:
    """Yield faults of a file; what cannot be looked at, as it has another form than all templates, is one."""
    try:
        yield from faults
    except yaml.YAMLError as error:
        yield f"It is no YAML: {_one_line(error)}."
    except OSError as error:
        yield f"It cannot be read: {error.strerror}."
    except (LookupError, TypeError, AttributeError, ValueError, RecursionError) as error:
        yield f"It has not the form of a template or an environment: {_one_line(error)}."


def check(path: Path) -> Iterator[str]:
    """Yield what is wrong with a template, and with the user data that it gets from files."""
    template = _load(path)
    if not isinstance(template, dict) or "heat_template_version" not in template:
        yield "It is no template: it has no heat_template_version."
        return
    yield from _functions(template)
    yield from _references(template)
    yield from _conditions(template)
    yield from _parameters(template)
    yield from _depended(template)
    yield from _ports(template)
    yield from _rules(template)
    for name, resource in template.get("resources", {}).items():
        if resource.get("type") == "OS::Nova::Server":
            yield from _server(name, resource.get("properties", {}), path.parent)
    if PRIVATE.search(path.read_text(encoding="utf-8")):
        yield "It has a private key in it: give it as a hidden parameter."


def check_environment(path: Path, templates: list[Path]) -> Iterator[str]:
    """Yield what an environment file gives that no template asks for."""
    asked = set().union(*(_load(template).get("parameters", {}) for template in templates))
    for name in _load(path).get("parameters", {}):
        if name not in asked:
            yield f"It gives {name}, which no template has for a parameter."


def check_user_data(text: str) -> Iterator[str]:
    """Yield what is wrong with a cloud-config that has all its values."""
    if not text.startswith("#cloud-config\n"):
        yield "The user data do not begin with #cloud-config, so cloud-init takes them for something else."
        return
    try:
        config = yaml.load(text, _Once)
    except yaml.YAMLError as error:
        yield f"The user data are no YAML: {_one_line(error)}."
        return
    for key in sorted(config.keys() - set(KEYS.read_text(encoding="utf-8").splitlines())):
        yield f"Nothing in the image reads {key}; deploy/image/cloud-init/keys has what is read."
    for entry in config.get("write_files", []):
        for key in sorted(entry.keys() - WRITE_FILE):
            yield f"The file {entry.get('path')} has {key}, which write_files of cloud-init does not know."
        if not re.fullmatch(r"0[0-7]{3}", str(entry.get("permissions", "0644"))):
            yield f"The file {entry.get('path')} has permissions {entry['permissions']}: write them as '0640'."
        elif "/keys/" in str(entry.get("path")) and int(entry.get("permissions", "0644"), 8) & 0o007:
            yield f"Everybody in the machine can read the key {entry.get('path')}: give it permissions '0640'."
    for command in config.get("runcmd", []):
        if not isinstance(command, list) or not all(isinstance(word, str) for word in command):
            yield f"The command {command} is no list of words, so a shell would read it."
    for place in sorted(set(PLACE.findall(text))):
        yield f"Nobody gave a value for {place}."


def _load(path: Path) -> Any:
    return yaml.load(path.read_text(encoding="utf-8"), _Once)


class _Once(yaml.SafeLoader):
    """Takes each key of a map once: of two, YAML and Heat take the last, and nobody hears of the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return a map. Raises ConstructorError."""
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value} is there twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _one_line(error: Exception) -> str:
    return re.sub(r"\s+", " ", str(error))


def _walk(value: Any, at: str) -> Iterator[tuple[str, str, Any]]:
    """Yield (place, key, value) of every entry of every map."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in entries:
        here = f"{at}.{key}" if isinstance(key, str) else at
        if isinstance(key, str):
            yield here, key, inner
        yield from _walk(inner, here)


def _functions(template: dict[str, Any]) -> Iterator[str]:
    """Name functions as Heat does: `get_atr` in an output is a map with one entry to it, and so is its value."""
    for part in ("resources", "outputs"):
        for at, _, value in _walk(template.get(part, {}), part):
            for called in value if isinstance(value, list) else [value]:
                # A function is a map with one entry.
                (key,) = called if isinstance(called, dict) and len(called) == 1 else ("",)
                near = difflib.get_close_matches(str(key), FUNCTIONS, 1, 0.8) if key not in FUNCTIONS else []
                if near:
                    yield f"{at} has {key}, which is no function of Heat: is it {near[0]}?"
    for name, output in template.get("outputs", {}).items():
        for key in sorted(output.keys() - OUTPUT):
            yield f"The output {name} has {key}, which no output has."


def _references(template: dict[str, Any]) -> Iterator[str]:
    """Refer to what is there, in all branches; the engine looks at those that hold."""
    for part in ("conditions", "resources", "outputs"):
        for at, key, value in _walk(template.get(part, {}), part):
            if key not in REFERENCES:
                continue
            name = value[0] if isinstance(value, list) and value else value
            if not isinstance(name, str) or name in PSEUDO:
                continue
            if name not in template.get(REFERENCES[key], {}):
                yield f"{at} refers to {name}, which is none of the {REFERENCES[key]}."
    known = set(template.get("conditions", {}))
    for at, key, value in _walk(template.get("resources", {}), "resources"):
        name = value[0] if key == "if" and isinstance(value, list) and value else value if key == "condition" else None
        if isinstance(name, str) and name not in known:
            yield f"{at} depends on {name}, which is none of the conditions."


def _conditions(template: dict[str, Any]) -> Iterator[str]:
    """A resource that may be missing is referred to only where the same condition holds."""
    resources = template.get("resources", {})
    maybe = {name: r["condition"] for name, r in resources.items() if "condition" in r}
    for part in ("resources", "outputs"):
        for name, body in template.get(part, {}).items():
            for at, target in _unguarded(body.get("properties", body.get("value", {})), f"{part}.{name}", frozenset()):
                if target in maybe and maybe[target] not in {body.get("condition"), *at[1]}:
                    yield f"{at[0]} refers to {target}, which is not there unless {maybe[target]} holds."


def _unguarded(value: Any, at: str, held: frozenset[str]) -> Iterator[tuple[tuple[str, frozenset[str]], str]]:
    """Yield ((place, conditions that hold there), resource) of each reference to a resource."""
    if isinstance(value, list):
        for inner in value:
            yield from _unguarded(inner, at, held)
        return
    for key, inner in value.items() if isinstance(value, dict) else ():
        if key in {"get_resource", "get_attr"}:
            yield (at, held), inner[0] if isinstance(inner, list) else inner
        elif key == "if" and isinstance(inner, list) and isinstance(inner[0], str):
            yield from _unguarded(inner[1:2], at, held | {inner[0]})
            yield from _unguarded(inner[2:], at, held)
        else:
            yield from _unguarded(inner, f"{at}.{key}", held)


def _parameters(template: dict[str, Any]) -> Iterator[str]:
    used = _asked(template, "resources") | _asked(template, "outputs")
    grouped = [name for group in template.get("parameter_groups", []) for name in group.get("parameters", [])]
    for name, schema in template.get("parameters", {}).items():
        if name not in used:
            yield f"The parameter {name} is used by nobody."
        if grouped and name not in grouped:
            yield f"The parameter {name} is in no group, so a form shows it at the end."
        if not schema.get("description"):
            yield f"The parameter {name} has no description."
        for constraint in schema.get("constraints", []):
            try:
                re.compile(constraint.get("allowed_pattern", ""))
            except re.error as error:
                yield f"The parameter {name} has a pattern that is none: {error}."
        if schema.get("type") == "string" and not schema.get("constraints") and name not in _checked(template):
            yield f"The parameter {name} takes any text: give it a constraint."
        if SECRET.search(name):
            if schema.get("hidden") is not True:
                yield f"The parameter {name} is a secret and not hidden, so everybody who may see the stack reads it."
            if schema.get("default"):
                yield f"The parameter {name} is a secret with a default, which everybody knows."


def _asked(template: dict[str, Any], part: str) -> set[str]:
    """Return the parameters of a part, and of the conditions that it depends on."""
    conditions, asked = template.get("conditions", {}), set()
    for _, key, value in _walk(template.get(part, {}), part):
        name = value[0] if isinstance(value, list) and value else value
        if key == "get_param":
            asked.add(name)
        elif key in {"if", "condition"} and isinstance(name, str):
            found = _walk(conditions.get(name, {}), name)
            asked |= {inner[0] if isinstance(inner, list) else inner for _, k, inner in found if k == "get_param"}
    return asked


def _depended(template: dict[str, Any]) -> Iterator[str]:
    """Depend on what is there, also where a condition does not hold; the engine looks where it does."""
    resources = template.get("resources", {})
    for name, resource in resources.items():
        given = resource.get("depends_on", [])
        for other in [given] if isinstance(given, str) else given:
            if other not in resources:
                yield f"The resource {name} depends on {other}, which is none of the resources."


def _rules(template: dict[str, Any]) -> Iterator[str]:
    """A rule without a prefix, or with one of all, is for everybody, and not for the clients alone."""
    for name, resource in template.get("resources", {}).items():
        if resource.get("type") != "OS::Neutron::SecurityGroup":
            continue
        for rule in resource.get("properties", {}).get("rules", []):
            ports = rule.get("port_range_min"), rule.get("port_range_max")
            if rule.get("direction", "ingress") != "ingress":
                continue
            if rule.get("remote_ip_prefix") in (None, "0.0.0.0/0", "::/0") and not rule.get("remote_group"):
                yield f"The group {name} lets everybody in to {ports[0]}: give the rule a remote_ip_prefix."
            if rule.get("protocol") != "tcp" or ports not in OPEN:
                yield f"The group {name} lets {rule.get('protocol')} in to {ports[0]} to {ports[1]}: nothing listens."


def _checked(template: dict[str, Any]) -> set[str]:
    """Return parameters that are the network of a port that may be missing: Heat looks for it when the port is made."""
    return {
        inner
        for resource in template.get("resources", {}).values()
        if resource.get("type") == "OS::Neutron::Port" and "condition" in resource
        for _, key, inner in _walk({"network": resource["properties"]["network"]}, "")
        if key == "get_param"
    }


def _ports(template: dict[str, Any]) -> Iterator[str]:
    for name, resource in template.get("resources", {}).items():
        if resource.get("type") != "OS::Neutron::Port":
            continue
        given = resource.get("properties", {})
        if READ_PORT.match(name):
            if given.get("port_security_enabled") is not False:
                yield f"The port {name} has port security, so the switch keeps frames of others from it."
            if given.get("no_fixed_ips") is not True:
                yield f"The port {name} is read, and would get an address."
            if "binding:vnic_type" not in given:
                yield f"The port {name} has no binding:vnic_type, so an environment cannot make it a virtual function."
        elif not given.get("security_groups"):
            yield f"The port {name} has an address and no security group of its own."
        servers = [r for r in template["resources"].values() if r.get("type") == "OS::Nova::Server"]
        attached = [
            inner
            for server in servers
            for _, key, inner in _walk({"": server.get("properties", {}).get("networks", [])}, "")
            if key == "get_resource" and inner == name
        ]
        if servers and len(attached) != 1:
            yield f"The port {name} is given to a machine {len(attached)} times: once makes a device of it."


def _server(name: str, given: dict[str, Any], folder: Path) -> Iterator[str]:
    if given.get("user_data_format") != "RAW":
        yield f"The server {name} has user data that are not RAW, so Heat puts its own tools around them."
    first = given["networks"][0] if given.get("networks") else {}
    if "management" not in str(first.get("port", "")):
        yield f"The first port of the server {name} is not that of management, which gets the default route."
    whole, pieces = "", dict[str, str]()
    for at, key, value in _walk(given.get("user_data", {}), f"resources.{name}.user_data"):
        if key != "str_replace":
            continue
        file = folder / str(value.get("template", {}).get("get_file", ""))
        if not file.is_file():
            yield f"{at} reads {file.name}, which is not there."
            continue
        text = "".join(line for line in file.read_text(encoding="utf-8").splitlines(True) if not line.startswith("# "))
        places = set(PLACE.findall(text))
        for place in sorted(places - value.get("params", {}).keys()):
            yield f"{file.name} has {place}, for which {at} gives no value."
        for place in sorted(value.get("params", {}).keys() - places):
            yield f"{at} gives a value for {place}, which {file.name} does not have."
        if at == f"resources.{name}.user_data.str_replace":
            whole = text
        elif within := re.search(rf"\.params\.({PLACE.pattern})\.", at):
            pieces[within[1]] = pieces.get(within[1], "") + text
    if whole:
        yield from _plain(whole, pieces)


def _plain(text: str, pieces: dict[str, str]) -> Iterator[str]:
    """Look at user data whose places have stand-ins for values; a place for further lines has all pieces it may get."""
    lines = (pieces.get(line[:-1], "") if PLACE.fullmatch(line[:-1]) else line for line in text.splitlines(True))
    yield from check_user_data(PLACE.sub("value", "".join(lines)))
