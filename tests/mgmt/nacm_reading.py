"""RFC 8341, section 3.4, read straight: step by step, each step where the RFC has it, with nothing remembered.

It shares no code with the product: it reads the rules out of the XML of a request, and takes a node as names and keys.
"""

from __future__ import annotations

from dataclasses import dataclass

from lxml import etree

N = "{urn:ietf:params:xml:ns:yang:ietf-netconf-acm}"


@dataclass(frozen=True)
class Step:
    module: str
    name: str
    keys: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Deny:
    """The statements default-deny-all and default-deny-write, in the definition of what is asked for or around it."""

    all: bool = False
    write: bool = False


def groups_of(nacm, user, external):
    """Step 4 of 3.4.4: groups that have the user, and those of the transport where these count."""
    found = {
        group.findtext(f"{N}name")
        for group in nacm.iterfind(f"{N}groups/{N}group")
        if user in [leaf.text for leaf in group.iterfind(f"{N}user-name")]
    }
    if nacm.findtext(f"{N}enable-external-groups", "true") == "true":
        found |= set(external)
    return found


def matching(nacm, groups, matches):
    """Steps 5 to 8: the action of the first rule that matches, of the first rule-list that has one; else None."""
    if not groups:
        return None
    for rule_list in nacm.iterfind(f"{N}rule-list"):
        named = {leaf.text for leaf in rule_list.iterfind(f"{N}group")}
        if not (named & groups or "*" in named):
            continue
        for rule in rule_list.iterfind(f"{N}rule"):
            if matches(rule):
                return rule.findtext(f"{N}action")
    return None


def has_bit(rule, bit):
    bits = rule.findtext(f"{N}access-operations", "*").split()
    return bits == ["*"] or bit in bits


def of_module(rule, module):
    return rule.findtext(f"{N}module-name", "*") in ("*", module)


def without_type(rule):
    return all(rule.find(N + name) is None for name in ("rpc-name", "notification-name", "path"))


def may_execute(nacm, user, external, module, name, deny=Deny()):
    """3.4.4, incoming RPC message validation."""
    if nacm.findtext(f"{N}enable-nacm", "true") == "false":  # 1
        return True
    if (module, name) == ("ietf-netconf", "close-session"):  # 3
        return True
    groups = groups_of(nacm, user, external)  # 4

    def matches(rule):  # 7
        typed = rule.findtext(f"{N}rpc-name") in ("*", name)
        return of_module(rule, module) and (without_type(rule) or typed) and has_bit(rule, "exec")

    action = matching(nacm, groups, matches)
    if action is not None:  # 8
        return action == "permit"
    if deny.all:  # 10
        return False
    if (module, name) in (("ietf-netconf", "kill-session"), ("ietf-netconf", "delete-config")):  # 11
        return False
    return nacm.findtext(f"{N}exec-default", "permit") == "permit"  # 12


def may_hear(nacm, user, external, module, name, deny=Deny()):
    """3.4.6, outgoing notification authorization."""
    if nacm.findtext(f"{N}enable-nacm", "true") == "false":
        return True
    if module == "nc-notifications" and name in ("replayComplete", "notificationComplete"):
        return True

    def matches(rule):
        typed = rule.findtext(f"{N}notification-name") in ("*", name)
        return of_module(rule, module) and (without_type(rule) or typed) and has_bit(rule, "read")

    action = matching(nacm, groups_of(nacm, user, external), matches)
    if action is not None:
        return action == "permit"
    return not deny.all and nacm.findtext(f"{N}read-default", "permit") == "permit"


def path_matches(rule, steps):
    """Say if the requested node is the one of the rule's path, or below it."""
    leaf = rule.find(f"{N}path")
    if leaf is None:
        return False
    if leaf.text == "/":
        return True
    wanted = split(leaf.text)
    if len(wanted) > len(steps):
        return False
    for text, step in zip(wanted, steps, strict=False):
        head, *predicates = text.replace("]", "").split("[")
        prefix, name = head.split(":")
        if (leaf.nsmap[prefix], name) != (NAMESPACES[step.module], step.name):
            return False
        for predicate in predicates:
            key, value = predicate.split("=", 1)
            if dict(step.keys).get(key.rpartition(":")[2]) != value[1:-1]:
                return False
    return True


NAMESPACES: dict[str, str] = {}  # of modules, given by the test


def split(path):
    """Return the steps of a path; a slash in a quoted value is none."""
    out, quote = [""], ""
    for letter in path[1:]:
        if letter in "'\"":
            quote = "" if quote == letter else quote or letter
        if letter == "/" and not quote:
            out.append("")
        else:
            out[-1] += letter
    return out


def may_access(nacm, user, external, steps, access, deny=Deny()):
    """3.4.5, data node access validation; *access* is create, read, update, delete or exec."""
    if nacm.findtext(f"{N}enable-nacm", "true") == "false":  # 1
        return True

    def matches(rule):  # 6
        typed = without_type(rule) or path_matches(rule, steps)
        return of_module(rule, steps[-1].module) and typed and has_bit(rule, access)

    action = matching(nacm, groups_of(nacm, user, external), matches)
    if action is not None:  # 7
        return action == "permit"
    if access == "read" and deny.all:  # 9
        return False
    if access in ("create", "update", "delete") and (deny.all or deny.write):  # 10
        return False
    default = {"read": "read", "exec": "exec"}.get(access, "write")
    if access == "exec" and deny.all:
        return False
    return nacm.findtext(f"{N}{default}-default", "deny" if default == "write" else "permit") == "permit"  # 11 to 13


def parse(xml: str) -> etree._Element:
    return etree.fromstring(xml)
