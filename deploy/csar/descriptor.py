"""Own checks of a descriptor (SOL001), for what a parser of TOSCA lets pass: each reference leads somewhere.

Templates come as parsed YAML by their names; each fault is one sentence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["check", "values_of_vnf"]

_VNF, _COMPUTE, _CP = "tosca.nodes.nfv.VNF", "tosca.nodes.nfv.Vdu.Compute", "tosca.nodes.nfv.VduCp"
_POLICY = "tosca.policies.nfv."
# Parts of a template that define types; the ones that TOSCA itself has are in no file.
_PARTS = (
    *("node_types", "data_types", "policy_types", "capability_types", "relationship_types", "artifact_types"),
    "interface_types",
)
_TOSCA = re.compile(r"tosca\.(?!.*\bnfv\b)")


def check(templates: Mapping[str, Any], entry: str) -> Iterator[str]:
    """Yield what is wrong with the templates of a package, of which *entry* is read first."""
    imported = yield from _imports(templates, entry)
    types = _types(imported)
    yield from _known_types(imported, types)
    flavours = {name: it for name, it in imported.items() if _topology(it).get("substitution_mappings")}
    top = [node for node in _nodes(imported.get(entry, {})).values() if _is(node, _VNF, types)]
    if len(top) != 1:
        yield f"{entry} has {len(top)} nodes of a type of VNF, and an entry has one."
    for name, template in flavours.items():
        yield from (f"{name}: {fault}" for fault in _flavour(template, types))
    yield from _known_flavours(flavours, top, types)
    for name, template in imported.items():
        yield from (f"{name}: {fault}" for fault in _properties_of_vnf(template, types))


def values_of_vnf(templates: Mapping[str, Any], entry: str, name: str) -> set[Any]:
    """Return the values that the type of the entry's VNF allows a property; none when it allows any."""
    types = _types(templates)
    nodes = [node for node in _nodes(templates.get(entry, {})).values() if _is(node, _VNF, types)]
    return {value for node in nodes for value in _valid_values(node["type"], name, types)}


def _topology(template: Any) -> dict[str, Any]:
    return (template or {}).get("topology_template") or {}


def _nodes(template: Any) -> dict[str, Any]:
    return _topology(template).get("node_templates") or {}


def _imports(templates: Mapping[str, Any], entry: str) -> Any:
    """Yield imports that are not in the package, and return what the entry reaches."""
    reached, waiting = {}, [entry]
    while waiting:
        name = waiting.pop()
        if name in reached:
            continue
        reached[name] = templates.get(name)
        for file in (templates.get(name) or {}).get("imports") or []:
            path = file.get("file", "") if isinstance(file, dict) else file
            if path in templates:
                waiting.append(path)
            elif "://" in path:
                yield f"{name} imports {path} from somewhere else, which an orchestrator without a way out cannot read."
            else:
                yield f"{name} imports {path}, which is not in the package."
    for name in sorted(templates.keys() - reached.keys()):
        yield f"{name} is imported by nobody."
    return reached


def _types(templates: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: body
        for template in templates.values()
        for part in _PARTS
        for name, body in ((template or {}).get(part) or {}).items()
    }


def _ancestry(kind: str, types: Mapping[str, Any]) -> Iterator[str]:
    seen: set[str] = set()
    while kind and kind not in seen:
        seen.add(kind)
        yield kind
        kind = (types.get(kind) or {}).get("derived_from", "")


def _is(node: Mapping[str, Any], kind: str, types: Mapping[str, Any]) -> bool:
    return kind in _ancestry(node.get("type", ""), types)


def _requirements(kind: str, types: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a type of nodes requires, by names."""
    return {
        name: (body or {}) if isinstance(body, dict) else {"capability": body}
        for ancestor in _ancestry(kind, types)
        for requirement in (types.get(ancestor) or {}).get("requirements") or []
        for name, body in requirement.items()
    }


def _members(kind: str, part: str, types: Mapping[str, Any]) -> set[str]:
    """Return names of the capabilities or properties that a type has, from its ancestors too."""
    return {name for ancestor in _ancestry(kind, types) for name in (types.get(ancestor) or {}).get(part) or {}}


def _capabilities(kind: str, types: Mapping[str, Any]) -> set[str]:
    """Return the types of the capabilities that a type of nodes has."""
    found = set()
    for ancestor in _ancestry(kind, types):
        for body in ((types.get(ancestor) or {}).get("capabilities") or {}).values():
            found |= set(_ancestry(body["type"] if isinstance(body, dict) else body, types))
    return found


def _known_types(templates: Mapping[str, Any], types: Mapping[str, Any]) -> Iterator[str]:
    """Requirements and artefacts refer to types, and a default is one of the values that are allowed."""

    def unknown(kind: Any) -> bool:
        return isinstance(kind, str) and kind not in types and not _TOSCA.match(kind)

    for name, template in templates.items():
        for kind, body in ((template or {}).get("node_types") or {}).items():
            for requirement, wanted in _requirements(kind, {kind: body}).items():
                for part in ("capability", "relationship", "node"):
                    if unknown(wanted.get(part)):
                        yield f"{name}: {requirement} of {kind} has the {part} {wanted[part]}, which is no type."
            yield from (f"{name}: {kind}: {fault}" for fault in _defaults((body or {}).get("properties") or {}))
        yield from (f"{name}: {fault}" for fault in _defaults(_topology(template).get("inputs") or {}))
        for node, body in _nodes(template).items():
            for artifact in (body.get("artifacts") or {}).values():
                if isinstance(artifact, dict) and unknown(artifact.get("type")):
                    yield f"{name}: {node} has an artefact of the type {artifact['type']}, which is none."


def _defaults(schemas: Mapping[str, Any]) -> Iterator[str]:
    for name, schema in schemas.items():
        for constraint in schema.get("constraints") or []:
            allowed, default = constraint.get("valid_values"), schema.get("default")
            if allowed is not None and default is not None and default not in allowed:
                yield f"{name} has the default {default}, which is none of its values."


# -- a flavour --------------------------------------------------------------------


def _flavour(template: Any, types: Mapping[str, Any]) -> Iterator[str]:
    yield from _mappings(template, types)
    nodes, policies = _nodes(template), _policies(template)
    for name, node in nodes.items():
        yield from _required(name, node, nodes, types)
    for name, policy in policies.items():
        yield from _policy(name, policy, nodes, types)
    yield from _profile(template, nodes, policies, types)
    yield from _scaling(nodes, policies)
    orders = sorted(n["properties"].get("order", -1) for n in nodes.values() if n.get("type") == _CP)
    if orders != list(range(len(orders))):
        yield f"The connection points have the orders {orders}, which do not count up from 0."


def _required(name: str, node: Mapping[str, Any], nodes: Mapping[str, Any], types: Mapping[str, Any]) -> Iterator[str]:
    """A requirement leads to a node that has the capability for it, and a connection point belongs to a machine."""
    known = _requirements(node.get("type", ""), types)
    given = [pair for requirement in node.get("requirements") or [] for pair in requirement.items()]
    for what, to in given:
        target = to.get("node") if isinstance(to, dict) else to
        capability = known.get(what, {}).get("capability")
        if target not in nodes:
            yield f"{name} has {target} for {what}, which is no node."
        elif capability and capability not in _capabilities(nodes[target].get("type", ""), types):
            yield f"{name} has {target} for {what}, which has no {capability}."
    if node.get("type") == _CP and "virtual_binding" not in dict(given):
        yield f"The connection point {name} belongs to no machine: it has no virtual_binding."


def _policy(name: str, policy: Mapping[str, Any], nodes: Mapping[str, Any], types: Mapping[str, Any]) -> Iterator[str]:
    kind, properties = policy.get("type", ""), policy.get("properties") or {}
    if kind not in types:
        yield f"The policy {name} is a {kind}, which is no type."
        return
    above = [types.get(ancestor) or {} for ancestor in _ancestry(kind, types)]
    wanted = {target for body in above for target in body.get("targets") or []}
    for target in policy.get("targets") or []:
        if target not in nodes:
            yield f"The policy {name} is for {target}, which is no node."
        elif wanted and not any(_is(nodes[target], one, types) for one in wanted):
            yield f"The policy {name} is for {target}, and {kind} is for no {nodes[target].get('type')}."
    low, high = properties.get("port_range_min", 0), properties.get("port_range_max", 65535)
    if kind == _POLICY + "SecurityGroupRule" and low > high:
        yield f"The policy {name} lets in from {low} to {high}, which is no port."


def _profile(
    template: Any, nodes: Mapping[str, Any], policies: Mapping[str, Any], types: Mapping[str, Any]
) -> Iterator[str]:
    """The node of the VNF in a flavour is of that flavour, and its profile has a level and numbers that can be."""
    flavour = (_topology(template)["substitution_mappings"].get("properties") or {}).get("flavour_id")
    levels = {k for p in _of_type(policies, "InstantiationLevels").values() for k in p["properties"]["levels"]}
    for name, node in nodes.items():
        if not _is(node, _VNF, types):
            continue
        given = node.get("properties") or {}
        if given.get("flavour_id") != flavour:
            yield f"{name} is of the flavour {given.get('flavour_id')}, and its template of {flavour}."
        profile = given.get("vnf_profile") or {}
        level = profile.get("instantiation_level")
        if level is not None and level not in levels:
            yield f"The profile of {name} has the level {level}, which is none of the instantiation levels."
        least, most = profile.get("min_number_of_instances", 1), profile.get("max_number_of_instances", 1)
        if not 0 <= least <= most or most < 1:
            yield f"The profile of {name} has {least} to {most} instances."


def _mappings(template: Any, types: Mapping[str, Any]) -> Iterator[str]:
    mapping, nodes = _topology(template)["substitution_mappings"], _nodes(template)
    kind = mapping.get("node_type", "")
    if kind not in types:
        yield f"The flavour substitutes {kind}, which is no type."
        return
    for name in (mapping.get("properties") or {}).keys() - _members(kind, "properties", types):
        yield f"The mappings have a value for {name}, which is no property of {kind}."
    for name, (node, capability) in ((n, (*to, "", "")[:2]) for n, to in (mapping.get("capabilities") or {}).items()):
        if name not in _members(kind, "capabilities", types):
            yield f"The mapping of {name} is of no capability of {kind}."
        if node not in nodes:
            yield f"The mapping of {name} leads to {node}, which is no node."
        elif capability not in _members(nodes[node].get("type", ""), "capabilities", types):
            yield f"The mapping of {name} leads to {capability} of {node}, which it does not have."
    known, mapped = _requirements(kind, types), set()
    for name, to in (mapping.get("requirements") or {}).items():
        node, requirement = (*to, "", "")[:2]
        mapped.add(node)
        if name not in known:
            yield f"The mapping of {name} is of no requirement of {kind}."
        if node not in nodes:
            yield f"The mapping of {name} leads to {node}, which is no node."
            continue
        there = _requirements(nodes[node].get("type", ""), types)
        if requirement not in there:
            yield f"The mapping of {name} leads to {requirement} of {node}, which {nodes[node]['type']} does not have."
        elif name in known and known[name].get("capability") != there[requirement].get("capability"):
            yield f"The mapping of {name} leads to {requirement} of {node}, which is for another capability."
    for name, node in nodes.items():
        linked = any("virtual_link" in requirement for requirement in node.get("requirements") or [])
        if node.get("type") == _CP and name not in mapped and not linked:
            yield f"The connection point {name} leads nowhere: it has no virtual link, inside or by a mapping."


def _policies(template: Any) -> dict[str, Any]:
    return {name: body for policy in _topology(template).get("policies") or [] for name, body in policy.items()}


def _of_type(policies: Mapping[str, Any], kind: str) -> dict[str, Any]:
    return {name: body for name, body in policies.items() if body.get("type") == _POLICY + kind}


def _scaling(nodes: Mapping[str, Any], policies: Mapping[str, Any]) -> Iterator[str]:
    """Compare aspects, steps and levels: the instances of each level are those that its steps make (SOL001, 6.10)."""
    aspects = {
        k: v for p in _of_type(policies, "ScalingAspects").values() for k, v in p["properties"]["aspects"].items()
    }
    levels = {
        k: v for p in _of_type(policies, "InstantiationLevels").values() for k, v in p["properties"]["levels"].items()
    }
    for name, policy in _of_type(policies, "InstantiationLevels").items():
        default = policy["properties"].get("default_level")
        if default not in levels:
            yield f"The default level {default} of {name} is none of its levels."
    for level, body in levels.items():
        for aspect, info in (body.get("scale_info") or {}).items():
            if aspect not in aspects:
                yield f"The level {level} is of the aspect {aspect}, which is none."
            elif info["scale_level"] > aspects[aspect]["max_scale_level"]:
                most = aspects[aspect]["max_scale_level"]
                yield f"The level {level} has {info['scale_level']} steps of {aspect}, which ends at {most}."
    steps: dict[str, dict[str, int]] = {}
    for name, policy in _of_type(policies, "VduScalingAspectDeltas").items():
        aspect, deltas = policy["properties"]["aspect"], policy["properties"]["deltas"]
        if aspect not in aspects:
            yield f"{name} is of the aspect {aspect}, which is none."
            continue
        for delta in aspects[aspect].get("step_deltas") or []:
            if delta not in deltas:
                yield f"The aspect {aspect} has the step {delta}, which {name} does not have."
            else:
                for vdu in policy["targets"]:
                    steps.setdefault(vdu, {})[aspect] = deltas[delta]["number_of_instances"]
    yield from _instances(nodes, policies, levels, steps, aspects)


def _instances(
    nodes: Mapping[str, Any],
    policies: Mapping[str, Any],
    levels: Mapping[str, Any],
    steps: Mapping[str, Mapping[str, int]],
    aspects: Mapping[str, Any],
) -> Iterator[str]:
    begin = {
        vdu: policy["properties"]["initial_delta"]["number_of_instances"]
        for policy in _of_type(policies, "VduInitialDelta").values()
        for vdu in policy["targets"]
    }
    for vdu, node in nodes.items():
        if node.get("type") != _COMPUTE:
            continue
        profile = node["properties"]["vdu_profile"]
        most = begin.get(vdu, 0) + sum(n * aspects[a]["max_scale_level"] for a, n in steps.get(vdu, {}).items())
        if not profile["min_number_of_instances"] <= begin.get(vdu, 0) <= most <= profile["max_number_of_instances"]:
            yield f"{vdu} scales from {begin.get(vdu, 0)} to {most}, beyond its profile."
        for name, policy in _of_type(policies, "VduInstantiationLevels").items():
            if vdu not in policy["targets"]:
                continue
            given = policy["properties"]["levels"]
            for level in sorted(given.keys() ^ levels.keys()):
                yield f"The level {level} is not both in {name} and among the instantiation levels."
            for level in given.keys() & levels.keys():
                info = levels[level].get("scale_info") or {}
                made = begin.get(vdu, 0) + sum(
                    n * info.get(a, {"scale_level": 0})["scale_level"] for a, n in steps.get(vdu, {}).items()
                )
                count = given[level]["number_of_instances"]
                if count != made:
                    yield f"The level {level} has {count} of {vdu}, and its steps make {made}."


# -- the whole --------------------------------------------------------------------


def _known_flavours(flavours: Mapping[str, Any], top: list[Any], types: Mapping[str, Any]) -> Iterator[str]:
    """The type knows each flavour that is there, and no other."""
    there = {}
    for name, template in flavours.items():
        flavour = (_topology(template)["substitution_mappings"].get("properties") or {}).get("flavour_id")
        there[flavour] = name
    for node in top:
        known = _valid_values(node["type"], "flavour_id", types)
        for flavour in sorted(known - there.keys()):
            yield f"The flavour {flavour} is one of {node['type']}, and no template is of it."
        for flavour in sorted(there.keys() - known, key=str):
            yield f"{there[flavour]} is of the flavour {flavour}, which {node['type']} does not know."


def _valid_values(kind: str, name: str, types: Mapping[str, Any]) -> set[Any]:
    schema = ((types.get(kind) or {}).get("properties") or {}).get(name) or {}
    return {value for constraint in schema.get("constraints") or [] for value in constraint.get("valid_values", [])}


def _properties_of_vnf(template: Any, types: Mapping[str, Any]) -> Iterator[str]:
    """The maker's values are those of the type (SOL001, 6.8.1)."""
    for name, node in _nodes(template).items():
        if not _is(node, _VNF, types):
            continue
        for key, value in (node.get("properties") or {}).items():
            allowed = _valid_values(node["type"], key, types)
            if allowed and not isinstance(value, dict) and value not in allowed:
                yield f"{name} has {value} for {key}, which its type does not allow."
        identity = _valid_values(node["type"], "descriptor_id", types)
        if not all(re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", str(value)) for value in identity):
            yield f"The descriptor_id of {node['type']} is no UUID."
