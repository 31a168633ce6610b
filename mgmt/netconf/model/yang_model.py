"""The YANG modules, compiled: says what a node is, brings a value to its canonical form, validates a tree.

The only owner of libyang's memory. Trees come in and go out as XML; libyang's own trees live as
long as one call, under one lock, because libyang is not thread-safe.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import libyang
from _libyang import ffi, lib  # type: ignore[import-not-found]
from libyang.util import ly_array_iter
from lxml import etree

from mgmt.netconf.model.kept_tree import KeptTree, values_of
from mgmt.netconf.model.library import told
from mgmt.netconf.model.schema import ActionNode, Kind, Module, SchemaNode
from mgmt.netconf.model.touched import Since
from mgmt.netconf.model.yang_errors import constraint_error
from mgmt.netconf.rpcerror import RpcError
from mgmt.netconf.xml_names import elements, with_modules, with_prefixes, without_predicates
from nf.errors import SnfError

__all__ = ["IMPLEMENTED", "Model", "default_model", "yang_dir"]

IMPLEMENTED = (
    "ietf-netconf",
    "ietf-netconf-monitoring",
    "ietf-netconf-acm",
    "ietf-yang-library",
    "ietf-netconf-with-defaults",
    "ietf-origin",
    "ietf-netconf-nmda",
    "notifications",
    "nc-notifications",
    "ietf-netconf-notifications",
    "ietf-subscribed-notifications",
    "ietf-yang-push",
    "snf-subscriptions",
    "iana-if-type",
    "ietf-alarms",
    "snf-alarms",
    "snf-function",
    "snf-interfaces",
    "snf-subscribers",
    "snf-applications",
    "snf-policies",
    "snf-qoe",
    "snf-export",
    "snf-keys",
    "snf-privacy",
    "snf-opt-out",
    "snf-explain",
    "snf-marks",
    "snf-revisions",
    "snf-management",
)
"""Modules whose data nodes exist; what they import is loaded with them."""

FEATURES: Mapping[str, tuple[str, ...]] = {
    "ietf-netconf-nmda": ("origin", "with-defaults"),
    "ietf-subscribed-notifications": ("encode-xml", "replay", "subtree", "xpath"),
    "ietf-yang-push": ("on-change",),
    "ietf-netconf": ("candidate", "confirmed-commit", "rollback-on-error", "validate", "xpath"),
}
"""Features that hold, by module; each goes with its capability (RFC 6241, 8)."""

DEFAULT_MODES = ("explicit", "report-all", "report-all-tagged", "trim")
"""Names of RFC 6243 for how defaults are reported."""

_PRINTED = {
    "report-all": lib.LYD_PRINT_WD_ALL,
    "report-all-tagged": lib.LYD_PRINT_WD_IMPL_TAG,  # what a client has set is no default (2.3.1)
    "trim": lib.LYD_PRINT_WD_TRIM,
}
_NOT_OURS = frozenset(
    {
        # libyang brings these and implements them for itself,
        "yang",
        "ietf-yang-metadata",
        "ietf-yang-schema-mount",
        "ietf-yang-structure-ext",
        # and these because a leafref names them, in a leaf whose feature does not hold here (source-vrf of RFC 8639).
        "ietf-network-instance",
        "ietf-ip",
    }
)
_INTERNAL = 0x1000  # LYS_INTERNAL (libyang, tree_schema.h): a statement that libyang puts into a module

_KINDS = {
    libyang.SNode.CONTAINER: Kind.CONTAINER,
    libyang.SNode.LIST: Kind.LIST,
    libyang.SNode.LEAF: Kind.LEAF,
    libyang.SNode.LEAFLIST: Kind.LEAF_LIST,
}
lib.ly_set_log_clb(ffi.NULL, True)  # errors carry their path; the binding switches that off when it is imported

_NO_TRIM = frozenset({libyang.Type.STRING, libyang.Type.UNION, libyang.Type.LEAFREF})
_IDENTITY = frozenset({libyang.Type.IDENT, libyang.Type.INST})


def yang_dir() -> Path:
    """Return the folder of the modules: the data package ``yang``."""
    spec = find_spec("yang")
    if spec is None or not spec.submodule_search_locations:
        raise SnfError("The YANG modules are not installed.", "Install the distribution again.")
    return Path(next(iter(spec.submodule_search_locations)))


@cache
def default_model() -> Model:
    """Return the model of the modules that are shipped; compiled once a process."""
    return Model(yang_dir())


class _Context(libyang.Context):  # type: ignore[misc]
    """Keeps the errors of libyang as values: (message, path, app-tag)."""

    def error(self, msg: str, *args: object) -> libyang.LibyangError:
        error = libyang.LibyangError(msg % args)
        error.found = self.take_errors()
        return error

    def take_errors(self) -> list[tuple[str, str, str]]:
        found: list[tuple[str, str, str]] = []
        item = lib.ly_err_first(self.cdata) if self.cdata else None
        while item:
            found.append((_text(item.msg), _text(item.path), _text(item.apptag)))
            item = item.next
        if self.cdata:
            lib.ly_err_clean(self.cdata, ffi.NULL)
        return found


def _text(value: Any) -> str:
    return " ".join(ffi.string(value).decode().split()) if value else ""


class Model:
    """A compiled set of modules. Safe to use from several threads.

    ``top`` has the top-level data nodes by tag, ``notifications`` the notifications; ``modules`` all modules by name;
    ``told`` those that clients are told of; ``guarded`` the operations and notifications that need an explicit rule.
    Raises SnfError when a module cannot be compiled.
    """

    def __init__(self, folder: Path, implemented: tuple[str, ...] = IMPLEMENTED) -> None:
        self._lock = threading.Lock()
        self._ctx = _Context(f"{folder}:{folder / 'ietf'}")
        try:
            for name in implemented:
                loaded = self._ctx.load_module(name)
                _enable(loaded, FEATURES.get(name, ()))
        except libyang.LibyangError as error:
            first = error.found[0][0] if error.found else ""
            raise SnfError(f"The YANG modules in {folder} do not compile: {first}", "Reinstall.") from None
        self._folder = folder
        self._all = list(self._ctx)
        self.modules = {m.name(): _module(m) for m in self._all}
        self.told = told(self.modules)
        self._by_namespace = {m.namespace: m.name for m in self.modules.values()}
        self.top: dict[str, SchemaNode] = {}
        self.notifications: dict[str, SchemaNode] = {}
        self.inputs: dict[str, dict[str, SchemaNode]] = {}  # of each rpc by tag, by name of the parameter
        self.guarded: set[str] = set()  # with nacm:default-deny-all, by tag
        self._kept = KeptTree(self._ctx, self.top)
        for module in self._all:
            if self.modules[module.name()].implemented:
                self._add_children(self.top, module.children(), None)
                self._add_rpcs(module)
                self._add_notifications(module)

    def _add_notifications(self, module: Any) -> None:
        own = self.modules[module.name()]
        for each in module.children(types=(libyang.SNode.NOTIF,)):
            node = SchemaNode(each.name(), own, Kind.CONTAINER, config=False, handle=each)
            self.notifications[node.tag] = node
            self._add_children(node.children, each.children(), node)

    def _add_rpcs(self, module: Any) -> None:
        own = self.modules[module.name()]
        for rpc in module.children(types=(libyang.SNode.RPC,)):
            self.inputs[f"{{{own.namespace}}}{rpc.name()}"] = self._parameters(rpc)
        for each in module.children(types=(libyang.SNode.RPC, libyang.SNode.NOTIF)):
            if _has(each, "default-deny-all"):
                self.guarded.add(f"{{{own.namespace}}}{each.name()}")

    def _parameters(self, operation: Any) -> dict[str, SchemaNode]:
        """Return the parameters of an rpc or action by name."""
        found: dict[str, SchemaNode] = {}
        if operation.input() is not None:
            self._add_children(found, operation.input().children(), None)
        return {node.name: node for node in found.values()}

    def _add_actions(self, node: SchemaNode, snode: Any) -> None:
        for action in snode.children(types=(libyang.SNode.ACTION,)):
            module = self.modules[action.module().name()]
            path = f"{node.path}/{module.name}:{action.name()}"
            deny_all = node.deny_all or _has(action, "default-deny-all")
            seen = SchemaNode(action.name(), module, Kind.CONTAINER, config=False, deny_all=deny_all, parent=node)
            node.actions[seen.tag] = ActionNode(path, self._parameters(action), seen)

    def _add_children(self, into: dict[str, SchemaNode], children: Any, parent: SchemaNode | None) -> None:
        for snode in children:
            kind = _KINDS.get(snode.nodetype())
            if kind is None or not self.modules[snode.module().name()].implemented:
                continue
            node = SchemaNode(
                name=snode.name(),
                module=self.modules[snode.module().name()],
                kind=kind,
                config=not snode.config_false(),
                deny_all=_has(snode, "default-deny-all") or (parent is not None and parent.deny_all),
                deny_write=_has(snode, "default-deny-write") or (parent is not None and parent.deny_write),
                case=_case(snode),
                parent=parent,
                handle=snode,
            )
            if kind is Kind.LIST:
                node.keys = tuple(key.name() for key in list(snode.keys()))
                node.user_ordered = snode.ordered()
            elif kind is Kind.CONTAINER:
                node.presence = snode.presence() is not None
            else:
                node.identity = snode.type().base() in _IDENTITY
                node.default = _default(snode) if kind is Kind.LEAF else None
                node.path_value = snode.type().name() == "node-instance-identifier"
            into[node.tag] = node
            if kind in (Kind.CONTAINER, Kind.LIST):
                self._add_children(node.children, snode.children(), node)
                self._add_actions(node, snode)

    def namespace(self, module: str) -> str | None:
        """Return the namespace of a module, None when there is no such module."""
        found = self.modules.get(module)
        return found.namespace if found else None

    def module_of(self, namespace: str | None) -> str | None:
        """Return the name of the module that owns a namespace."""
        return self._by_namespace.get(namespace or "")

    def canonical(self, node: SchemaNode, element: etree._Element) -> str:
        """Return the value of a leaf in its canonical form (RFC 7950, 9.1).

        An identity comes back with the name of its module as prefix. Raises RpcError
        (invalid-value) with a sentence that does not repeat the value.
        """
        text = element.text or ""
        if len(element):  # comments stand in it
            text = "".join(element.xpath("text()"))
        base = node.handle.type().base()
        if base == libyang.Type.BINARY:
            text = "".join(text.split())
        elif base not in _NO_TRIM:
            text = text.strip()
        if node.identity:
            text = self._with_module_prefix(text, element)
        path = self._path(text, element) if node.path_value else ""
        if path:
            text = with_modules(path)
        raw, found = text.encode(), ffi.new("const char **")
        with self._lock:
            code = lib.lyd_value_validate(self._ctx.cdata, node.handle.cdata, raw, len(raw), ffi.NULL, ffi.NULL, found)
            errors = self._ctx.take_errors()
            value = ffi.string(found[0]).decode() if found[0] else text
        if code in (lib.LY_SUCCESS, lib.LY_EINCOMPLETE):
            # So have the values of keys in a path their canonical form.
            return (with_prefixes(value, lambda module: module) or value) if path else str(value)
        raise RpcError("invalid-value", _value_sentence(node, text, errors))

    def _with_module_prefix(self, text: str, element: etree._Element) -> str:
        prefix, colon, name = text.rpartition(":")
        module = self.module_of(element.nsmap.get(prefix or None))
        return f"{module}:{name}" if module and name else (name if not colon else text)

    def _path(self, text: str, element: etree._Element) -> str:
        """Return an instance-identifier with modules as prefixes. Raises RpcError when it names no node."""
        path = with_prefixes(text, lambda prefix: self.module_of(element.nsmap.get(prefix or None)))
        if path is None:
            raise RpcError("invalid-value", "A path has steps like /prefix:name[prefix:key='value'], or is / alone.")
        if path != "/":
            with self._lock:
                try:
                    next(iter(self._ctx.find_path(without_predicates(path))))
                except libyang.LibyangError:
                    raise RpcError("invalid-value", "The path names no node of the modules.") from None
        return path

    def validate(self, tree: etree._Element, since: Since | None = None) -> Mapping[str, Any]:
        """Validate a whole configuration and return it with all defaults, as JSON (RFC 7951) reads.

        *tree* is an element whose children are the top-level nodes. With *since* that alone is read which was touched,
        and of its bulk list the result has only that. Raises RpcError with the path.
        """
        with self._lock:
            root = self._kept.take(tree, since) if since is not None else None
            try:
                root = root or self._parsed(tree)
                if root is None:
                    return {}
                root = self._valid(root)
            except libyang.LibyangError as error:
                raise constraint_error(getattr(error, "found", []), tree, self.top) from None
            try:
                bulk, wanted = self._bulk(since)
                values = values_of(root, bulk, wanted)
            except BaseException:
                lib.lyd_free_all(root)
                raise
            if since is None:
                lib.lyd_free_all(root)
            else:
                self._kept.keep(tree, root, since.touched)
        return values

    def _parsed(self, tree: etree._Element) -> Any:
        data = b"".join(etree.tostring(child) for child in elements(tree)).decode()
        root = self._ctx.parse_data_mem(data, "xml", parse_only=True, no_state=True, strict=True)
        return None if root is None else root.cdata

    def _valid(self, root: Any) -> Any:
        """Return a tree that was validated, with its defaults; one that is not valid is freed."""
        holder = ffi.new("struct lyd_node **", root)
        code = lib.lyd_validate_all(holder, self._ctx.cdata, lib.LYD_VALIDATE_NO_STATE, ffi.NULL)
        if code != lib.LY_SUCCESS:
            error = self._ctx.error("the tree is not valid")
            lib.lyd_free_all(holder[0])
            raise error
        return lib.lyd_first_sibling(holder[0])

    def _bulk(self, since: Since | None) -> tuple[tuple[Any, Any] | None, set[str]]:
        wanted = None if since is None else since.touched.entries(*since.bulk)
        if since is None or wanted is None:
            return None, set()
        container = self.top[since.bulk[0]]
        return (container.handle.cdata, container.children[since.bulk[1]].handle.cdata), wanted

    def as_json(self, trees: Iterable[etree._Element]) -> str:
        """Return top-level nodes, configuration and state, as JSON (RFC 7951). Raises RpcError."""
        data = b"".join(etree.tostring(tree) for tree in trees).decode()
        with self._lock:
            root = None
            try:
                root = self._ctx.parse_data_mem(data, "xml", parse_only=True, strict=True)
                return "{}" if root is None else str(root.first_sibling().print_mem("json", with_siblings=True))
            except libyang.LibyangError as error:
                raise constraint_error(getattr(error, "found", []), etree.Element("data"), self.top) from None
            finally:
                if root is not None:
                    root.free(with_siblings=True)

    def with_defaults(self, tree: etree._Element, mode: str) -> etree._Element:
        """Return configuration and state with defaults as one of `DEFAULT_MODES` wants them.

        Defaults of configuration are added and, with report-all-tagged, marked; trim takes out all that has the value
        of its default. *tree* need not be valid.
        """
        if mode == "explicit":
            return tree
        data = b"".join(etree.tostring(child) for child in elements(tree)).decode()
        node, text = ffi.new("struct lyd_node **"), ffi.new("char **")
        with self._lock:
            root = self._ctx.parse_data_mem(data, "xml", parse_only=True, strict=True)
            node[0] = ffi.NULL if root is None else root.cdata
            flags = lib.LYD_PRINT_SHRINK | lib.LYD_PRINT_WITHSIBLINGS | _PRINTED[mode]
            try:
                if mode != "trim":
                    lib.lyd_new_implicit_all(node, self._ctx.cdata, lib.LYD_IMPLICIT_NO_STATE, ffi.NULL)
                if node[0]:
                    node[0] = lib.lyd_first_sibling(node[0])
                    lib.lyd_print_mem(text, node[0], lib.LYD_XML, flags)
                printed = ffi.string(text[0]).decode() if text[0] else ""
            finally:
                lib.lyd_free_all(node[0])
                if text[0]:
                    lib.free(text[0])
        found = etree.fromstring(f"<data>{printed}</data>".encode(), etree.XMLParser(huge_tree=True))
        for element in found.iter():
            _without_own_prefix(element)
        return found

    def schema_text(self, name: str, revision: str, yin: bool) -> str | None:
        """Return the source of a module that clients are told of, None when there is none of this name and revision."""
        known = self.modules.get(name)
        if known not in self.told or revision not in ("", known.revision):
            return None
        if not yin:
            # As it was written: libyang prints what it made of it.
            for folder in (self._folder, self._folder / "ietf"):
                file = folder / f"{name}@{known.revision}.yang"
                if file.exists():
                    return file.read_text()
        (module,) = (m for m in self._all if m.name() == name)
        with self._lock:
            return str(module.print_mem("yin" if yin else "yang"))


def _module(module: Any) -> Module:
    revisions = [r.date() for r in module.revisions()]
    return Module(
        name=module.name(),
        revision=max(revisions, default=""),
        namespace=ffi.string(module.cdata.ns).decode(),
        prefix=module.prefix(),
        implemented=bool(module.implemented()) and module.name() not in _NOT_OURS,
        features=tuple(f.name() for f in module.features() if f.state()),
        deviations=tuple(_text(other.name) for other in ly_array_iter(module.cdata.deviated_by)),
        imports=tuple(i.name() for i in module.imports() if not i.cdata.flags & _INTERNAL),
    )


def _has(snode: Any, extension: str) -> bool:
    return any(e.name() == extension for e in snode.extensions())


def _without_own_prefix(element: etree._Element) -> None:
    """Write an identity of the element's own module without prefix: lxml drops a second declaration of a namespace."""
    prefix, colon, name = (element.text or "").partition(":")
    if colon and element.nsmap.get(prefix) == etree.QName(element).namespace:
        element.text = name


def _enable(module: Any, features: tuple[str, ...]) -> None:
    """Enable features; all in one call, as each replaces the ones before."""
    names = [ffi.new("char[]", name.encode()) for name in features]
    if features and lib.lys_set_implemented(module.cdata, ffi.new("const char *[]", [*names, ffi.NULL])):
        raise module.context.error("no such feature")


def _default(snode: Any) -> str | None:
    """Return the default of a leaf in canonical form."""
    value = snode.default()
    return str(value).lower() if isinstance(value, bool) else None if value is None else str(value)


def _case(snode: Any) -> tuple[str, str] | None:
    """Return (choice, case) of a node that stands in a choice."""
    parent = snode.cdata.parent
    if not parent or parent.nodetype != lib.LYS_CASE:
        return None
    return _text(parent.parent.name), _text(parent.name)


def _value_sentence(node: SchemaNode, value: str, errors: list[tuple[str, str, str]]) -> str:
    """Use the sentence of the module; libyang's own would repeat the value."""
    said = errors[0][0] if errors else ""
    if said and not said.startswith("Invalid") and f'"{value}"' not in said and "Unsatisfied" not in said:
        return said
    base = node.handle.type().basename()
    return f"The value of {node.name} is not a valid {base}."
