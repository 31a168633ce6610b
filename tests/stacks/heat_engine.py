"""Heat's own engine without a cloud: it validates templates, and resolves them as if each resource was there.

Runs in the environment of `scripts/validators heat`, which has the packages openstack-heat and python-heatclient. Reads
a list of cases in JSON from standard input: `template` and `environments` are paths, `parameters` a map. Writes a list
of verdicts: `refused`, a sentence or nothing; else `resources`, types and resolved properties of each, `outputs`, and
`members` of groups with their properties.

The client's library reads the files, as `openstack stack create` does. The cloud is a list of names: a constraint that
Heat would ask Neutron, Nova or Glance about holds when the value is one of CLOUD.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from types import SimpleNamespace
from typing import Any
from unittest import mock

from heat.common import context as heat_context
from heat.common import exception
from heat.engine import constraints, environment, node_data, resource, resources, stack, stk_defn, template
from heat.engine.clients.os import glance, neutron, nova
from heatclient import exc
from heatclient.common import template_utils

# The cloud of the tests has these, and nothing else.
CLOUD = {
    "NetworkConstraint": {"management", "n3-mirror", "n6-mirror", "n4-mirror", "ran", "core", "n6-core", "dn"},
    "FlavorConstraint": {"snf.medium"},
    "ImageConstraint": {"supernetflow"},
    "KeypairConstraint": {"operations"},
    "PortConstraint": {f"{n:08d}-0000-4000-8000-000000000000" for n in range(1, 9)},
}
FLAVOR = {"ram": 4096, "disk": 10}
IMAGE = {"status": "active", "min_ram": 2048, "min_disk": 4}
MAC = "fa:16:3e:00:00:{:02x}"


class Attributes(dict[Any, Any]):
    """Attributes of a resource; the engine asks for a path into one by a tuple."""

    def __missing__(self, path: Any) -> Any:
        """Follow a path."""
        if not isinstance(path, tuple):
            raise KeyError(path)
        value = self[path[0]]
        for step in path[1:]:
            value = value[step]
        return value


def in_cloud(self: Any, value: Any, _context: Any) -> bool:
    """Say whether a name is in the cloud; ports, services and groups that the stack makes itself have an id of ours."""
    name = type(self).__name__
    self._error_message = f"There is no {value} in this cloud"
    return str(value) in CLOUD.get(name, set()) or str(value).startswith("id-of-")


def attributes_of(number: int, kind: str, six: bool) -> dict[str, Any]:
    """Give the attributes that a resource has when it was made, as Neutron and Nova would; *six* of the networks."""
    if kind == "OS::Neutron::Port":
        address = f"2001:db8::{number}" if six else f"192.0.2.{number}"
        return {"mac_address": MAC.format(number), "fixed_ips": [{"ip_address": address}]}
    if kind == "OS::Heat::ResourceGroup":
        feed, snapshots = (f"tcp://192.0.2.1:{port}" for port in (5556, 5557))
        addresses = ["192.0.2.1", "192.0.2.2"]
        return {"netconf_address": addresses, "feed_endpoint": [feed] * 2, "snapshot_endpoint": [snapshots] * 2}
    return {}


def made(built: stack.Stack) -> None:
    """Tell the stack that each of its resources is there, with an id that says its name, and attributes."""
    six = dict(built.parameters).get("clients_ethertype") == "IPv6"
    for number, (name, it) in enumerate(sorted(built.resources.items()), 1):
        known = Attributes(attributes_of(number, it.type(), six))
        if it.type() != "OS::Heat::ResourceGroup":  # its attributes are those of its members
            assert known.keys() <= it.attributes_schema.keys(), f"{it.type()} has not all of {set(known)}"
        data = node_data.NodeData(number, name, f"uuid-{number}", f"id-of-{name}", known, "CREATE", "COMPLETE")
        stk_defn.update_resource_data(built.defn, name, data)


def plain(value: Any) -> Any:
    """Return what JSON can say of a resolved value."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items() if v is not None}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value if isinstance(value, (str, int, float, bool)) or value is None else str(value)


def built(case: dict[str, Any]) -> stack.Stack:
    """Make the stack of a case, from files as the client reads them."""
    files, text = template_utils.get_template_contents(template_file=case["template"])
    more, given = template_utils.process_multiple_environments_and_files(env_paths=case["environments"])
    given.setdefault("parameters", {}).update(case["parameters"])
    env = environment.Environment(given)
    texts = {name: f.decode() if isinstance(f, bytes) else f for name, f in {**files, **more}.items()}
    parsed = template.Template(text, files=texts, env=env)
    context = heat_context.RequestContext(project_id="project", user_id="user", is_admin=False, auth_token="none")
    return stack.Stack(context, "probe", parsed, strict_validate=True)


def nested(group: Any) -> stack.Stack:
    """Return the stack that a group makes of its members."""
    return group._parse_nested_stack(group.name, group.child_template(), group.child_params())


def verdict(case: dict[str, Any]) -> dict[str, Any]:
    """Validate a case and resolve it."""
    try:
        it = built(case)
        it.validate()
        made(it)
        found = {
            name: {"type": r.type(), "properties": plain({k: r.properties[k] for k in r.properties})}
            for name, r in it.resources.items()
        }
        members = {
            name: {n: plain(dict(m.properties.items())) for n, m in nested(r).resources.items()}
            for name, r in it.resources.items()
            if r.type() == "OS::Heat::ResourceGroup"
        }
        outputs = {name: plain(output.get_value()) for name, output in it.outputs.items()}
    except (exception.HeatException, exc.CommandError, re.error, ValueError, TypeError, KeyError) as error:
        return {"refused": str(error)}
    return {"refused": None, "resources": found, "outputs": outputs, "members": members}


def main() -> None:
    """Read cases, write verdicts."""
    logging.disable(logging.CRITICAL)
    resources.initialise()
    ours = mock.patch.object
    with (
        ours(resource.Resource, "is_service_available", lambda *_: (True, None)),
        ours(constraints.BaseCustomConstraint, "validate", in_cloud),
        ours(neutron.NeutronClientPlugin, "find_resourceid_by_name_or_id", lambda _self, _kind, name, **_: name),
        ours(neutron.NeutronClientPlugin, "has_extension", lambda _self, _alias: True),
        ours(nova.NovaClientPlugin, "find_flavor_by_name_or_id", lambda _self, name: name),
        ours(nova.NovaClientPlugin, "is_version_supported", lambda *_: True),
        ours(resource.Resource, "rpc_client", lambda _self: None),
        ours(nova.NovaClientPlugin, "get_flavor", lambda *_: SimpleNamespace(**FLAVOR)),
        ours(glance.GlanceClientPlugin, "get_image", lambda *_: SimpleNamespace(**IMAGE)),
        ours(glance.GlanceClientPlugin, "find_image_by_name_or_id", lambda _self, name: name),
    ):
        json.dump([verdict(case) for case in json.load(sys.stdin)], sys.stdout)


if __name__ == "__main__":
    main()
