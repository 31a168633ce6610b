"""A script of requests for two servers that hold the module ``neutral``: what is valid and what is not, by theme.

A story begins with an empty ``top`` in candidate and running and nothing locked. `STORIES` has the requests by the name
of their story; a request is (session, operation as XML), sessions are 1 and 2.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

NEUTRAL = "urn:supernetflow:test:neutral"
BASE = "urn:ietf:params:xml:ns:netconf:base:1.0"

Request = tuple[int, str]

CANDIDATE, RUNNING = "<target><candidate/></target>", "<target><running/></target>"
COMMIT, DISCARD = "<commit/>", "<discard-changes/>"
VALIDATE = "<validate><source><candidate/></source></validate>"
SET = "<test-option>set</test-option>"  # constraints wait for validate or commit
EMPTY = f'<top xmlns="{NEUTRAL}" nc:operation="remove"/>'


def config(xml: str) -> str:
    return f'<config xmlns:nc="{BASE}">{xml}</config>'


def top(xml: str, operation: str = "") -> str:
    attribute = f' nc:operation="{operation}"' if operation else ""
    return f'<top xmlns="{NEUTRAL}" xmlns:n="{NEUTRAL}"{attribute}>{xml}</top>'


def edit(xml: str, options: str = "") -> str:
    """Return an edit of candidate; *xml* is below ``top``."""
    return f"<edit-config>{CANDIDATE}{options}{config(top(xml))}</edit-config>"


def entry(name: str, more: str = "", operation: str = "") -> str:
    attribute = f' nc:operation="{operation}"' if operation else ""
    return f"<entry{attribute}><name>{name}</name>{more}</entry>"


def with_operation(xml: str, operation: str) -> str:
    """Return an element with the attribute operation at its outermost element."""
    end = min(i for i in (xml.find(">"), xml.find("/>"), xml.find(" ")) if i > 0)
    return f'{xml[:end]} nc:operation="{operation}"{xml[end:]}'


# -- types -----------------------------------------------------------------------

VALUES = {
    "int8": ("0", "-128", "127", " 5 ", "+5", "0x1F", "128", "-129", "1.0", "", "five"),
    "uint16": ("1", "100", "200", "0", "101", "201", "-1", "65536"),
    "uint64": ("18446744073709551615", "18446744073709551616"),
    "decimal": ("0", "1.5", "5.00", "5.01", "1.555", "1,5", "-0.01"),
    "string": ("a", "abcde", "", "abcdef", "aBc", "ab1"),
    "boolean": ("true", "false", "TRUE", "1", ""),
    "enumeration": ("one", "two", "three", "One", ""),
    "bits": ("", "first", "first second", "second first", "third", "first,second"),
    "binary": ("", "AAA=", "AAAAAA==", "AAAAAAAA", "A", "!!!!"),
    "empty": ("", "x"),
    "identity": ("red", "n:red", "green", "n:colour", "x:red", ""),
    "union": ("0", "255", "none", "256", "some", ""),
}


def types() -> Iterator[tuple[str, list[Request]]]:
    for leaf, values in VALUES.items():
        requests = [(1, edit(f"<types><{leaf}>{value}</{leaf}></types>")) for value in values]
        yield f"values of {leaf}", [*requests, (1, COMMIT)]


# -- operations --------------------------------------------------------------------

NODES = {
    "leaf": "<reference>a</reference>",
    "leaf with a default": "<types><with-default>9</with-default></types>",
    "container": "<limits><low>1</low></limits>",
    "presence container": "<presence><inside>x</inside></presence>",
    "list entry": entry("b", "<note>x</note>"),
    "entry with two keys": "<pair><left>1</left><right>x</right><value>v</value></pair>",
    "leaf-list entry": "<tag>one</tag>",
    "case": "<way-number>1</way-number>",
}
OPERATIONS = ("create", "delete", "remove", "replace", "merge")


def operations() -> Iterator[tuple[str, list[Request]]]:
    for kind, xml in NODES.items():
        first = [
            (1, edit(entry("a") + (xml if there else "")) if there else edit(entry("a"))) for there in (False, True)
        ]
        for operation, there in product(OPERATIONS, (False, True)):
            yield (
                f"{operation} of a {kind} that is {'there' if there else 'not there'}",
                [first[there], (1, edit(with_operation(xml, operation))), (1, COMMIT)],
            )


def default_operations() -> Iterator[tuple[str, list[Request]]]:
    for operation in ("merge", "replace", "none", "delete", "nothing"):
        options = f"<default-operation>{operation}</default-operation>"
        yield (
            f"default-operation {operation}",
            [
                (1, edit(entry("a", "<note>old</note>") + "<tag>one</tag>")),
                (1, COMMIT),
                (1, edit(entry("a", "<number>1</number>"), options)),
            ],
        )
    yield (
        "an operation below the default of none",
        [
            (1, edit(entry("a", "<note>old</note>"))),
            (
                1,
                edit(
                    entry("a", '<note nc:operation="replace">new</note>'), "<default-operation>none</default-operation>"
                ),
            ),
            (
                1,
                edit(
                    entry("z", '<note nc:operation="create">new</note>'), "<default-operation>none</default-operation>"
                ),
            ),
        ],
    )
    yield (
        "operations inside each other",
        [
            (1, edit(entry("a", "<note>x</note><number>1</number>"))),
            (1, edit(entry("a", '<number nc:operation="delete"/>', "merge"))),
            (1, edit(entry("a", '<number nc:operation="delete"/>', "merge"))),
            (1, edit(entry("a", "<number>3</number>", "replace") + entry("b", "", "create"))),
            (1, edit(entry("b", "", "create"))),
            (1, edit(entry("b", "", "shine"))),
        ],
    )


# -- constraints --------------------------------------------------------------------


def constraints() -> Iterator[tuple[str, list[Request]]]:
    wrong = {
        "must": "<limits><low>9</low><high>3</high></limits>",
        "unique": entry("a", "<number>1</number>") + entry("b", "<number>1</number>"),
        "leafref": "<reference>nobody</reference>",
        "leafref in a list": entry("a", "<follows>nobody</follows>"),
        "mandatory": "<needs/>",
        "max-elements": "<tag>a</tag><tag>b</tag><tag>c</tag><tag>d</tag>",
        "when": "<mode>plain</mode><detail>x</detail>",
    }
    for name, xml in wrong.items():
        yield f"{name}, at validate", [(1, edit(xml, SET)), (1, VALIDATE)]
        yield f"{name}, at commit", [(1, edit(xml, SET)), (1, COMMIT)]
        yield (
            f"{name}, at test-then-set",
            [(1, edit(xml, "<test-option>test-then-set</test-option>")), (1, VALIDATE)],
        )
    right = {
        "must": "<limits><low>3</low><high>9</high></limits>",
        "unique": entry("a", "<number>1</number>") + entry("b", "<number>2</number>") + entry("c"),
        "leafref": entry("a") + "<reference>a</reference>",
        "leafref forward": entry("a", "<follows>b</follows>") + entry("b"),
        "mandatory": "<needs><mandatory>x</mandatory></needs>",
        "max-elements": "<tag>a</tag><tag>b</tag><tag>c</tag>",
        "when": "<mode>special</mode><detail>x</detail>",
    }
    for name, xml in right.items():
        yield f"{name}, held", [(1, edit(xml)), (1, COMMIT), (1, VALIDATE)]
    yield (
        "a leafref whose target goes",
        [(1, edit(right["leafref"])), (1, COMMIT), (1, edit(entry("a", "", "delete"), SET)), (1, COMMIT)],
    )
    yield (
        "a commit that is refused and mended",
        [(1, edit(wrong["must"], SET)), (1, COMMIT), (1, edit("<limits><high>10</high></limits>")), (1, COMMIT)],
    )
    yield "an edit of candidate without a test-option", [(1, edit(wrong["must"])), (1, DISCARD)]
    yield (
        "the cases of a choice",
        [
            (1, edit("<way-name>x</way-name>")),
            (1, edit("<way-number>1</way-number><way-unit>m</way-unit>")),
            (1, COMMIT),
            (1, edit("<way-name>y</way-name>")),
            (1, COMMIT),
        ],
    )


# -- what is no request ---------------------------------------------------------------


def malformed() -> Iterator[tuple[str, list[Request]]]:
    requests = {
        "an unknown operation": "<make-coffee/>",
        "an operation of another namespace": '<get-config xmlns="urn:x"/>',
        "get-config without a source": "<get-config/>",
        "get-config of an unknown datastore": "<get-config><source><elsewhere/></source></get-config>",
        "get-config with an unknown parameter": "<get-config><source><running/></source><sorted/></get-config>",
        "edit-config without a target": f"<edit-config>{config(top(''))}</edit-config>",
        "edit-config without a config": f"<edit-config>{CANDIDATE}</edit-config>",
        "edit-config with a wrong test-option": edit("<tag>a</tag>", "<test-option>maybe</test-option>"),
        "edit-config with a wrong error-option": edit("<tag>a</tag>", "<error-option>cry</error-option>"),
        "edit-config with an unknown element": edit("<colour>red</colour>"),
        "edit-config with an unknown element at the top": (
            f"<edit-config>{CANDIDATE}{config(f'<bottom xmlns={chr(34)}{NEUTRAL}{chr(34)}/>')}</edit-config>"
        ),
        "edit-config with an unknown namespace": (
            f"<edit-config>{CANDIDATE}{config('<top xmlns={0}urn:x{0}/>'.format(chr(34)))}</edit-config>"
        ),
        "an entry without its key": edit("<entry><note>x</note></entry>"),
        "an entry without one of its keys": edit("<pair><left>1</left></pair>"),
        "a key of the wrong type": edit("<pair><left>x</left><right>y</right></pair>"),
        "a key that is too long": edit(entry("abcdefghi")),
        "elements in a leaf": edit("<mode><plain/></mode>"),
        "text in a container": edit("<limits>3</limits>"),
        "an unknown attribute of NETCONF": edit('<mode nc:colour="red">plain</mode>'),
        "kill-session without a number": "<kill-session/>",
        "kill-session of nobody": "<kill-session><session-id>4000000</session-id></kill-session>",
        "kill-session of no number": "<kill-session><session-id>me</session-id></kill-session>",
        "lock without a target": "<lock/>",
        "lock of an unknown datastore": "<lock><target><elsewhere/></target></lock>",
        "unlock of what is not locked": f"<unlock>{CANDIDATE}</unlock>",
        "validate without a source": "<validate/>",
        "copy-config without a source": f"<copy-config>{CANDIDATE}</copy-config>",
        "copy-config onto itself": f"<copy-config>{CANDIDATE}<source><candidate/></source></copy-config>",
        "delete-config of running": f"<delete-config>{RUNNING}</delete-config>",
        "validate of a configuration that is wrong": (
            f"<validate><source>{config(top('<limits><low>9</low><high>3</high></limits>'))}</source></validate>"
        ),
        "validate of a configuration": f"<validate><source>{config(top('<tag>a</tag>'))}</source></validate>",
        "validate of running": "<validate><source><running/></source></validate>",
        "commit with an unknown parameter": "<commit><loudly/></commit>",
    }
    for name, request in requests.items():
        yield name, [(1, request)]


# -- sessions and datastores ------------------------------------------------------------


def locks() -> Iterator[tuple[str, list[Request]]]:
    lock, unlock = f"<lock>{CANDIDATE}</lock>", f"<unlock>{CANDIDATE}</unlock>"
    lock_running, unlock_running = f"<lock>{RUNNING}</lock>", f"<unlock>{RUNNING}</unlock>"
    change = edit("<tag>a</tag>")
    stories = {
        "a lock keeps others out": [
            (1, lock), (2, change), (2, lock), (2, unlock), (1, change), (1, unlock), (2, lock), (2, unlock),
        ],
        "a lock twice": [(1, lock), (1, lock), (1, unlock), (1, unlock)],
        "a lock of a changed candidate": [(1, change), (2, lock), (1, lock), (1, DISCARD), (2, lock), (2, unlock)],
        "a lock of running keeps commits out": [
            (1, lock_running), (2, change), (2, COMMIT), (2, DISCARD), (1, unlock_running),
        ],
        "both locks, edit, commit, validate": [
            (1, lock_running), (1, lock), (1, change), (1, COMMIT), (1, VALIDATE), (1, unlock), (1, unlock_running),
        ],
        "an unlock discards what was changed": [(1, lock), (1, change), (1, unlock), (2, lock), (2, unlock)],
        "a discard by another session": [(1, lock), (1, change), (2, DISCARD), (1, COMMIT), (1, unlock)],
        "a commit by another session": [(1, lock), (1, change), (2, COMMIT), (1, COMMIT), (1, unlock)],
    }  # fmt: skip
    yield from stories.items()


def datastores() -> Iterator[tuple[str, list[Request]]]:
    source = f"<source>{config(top(entry('a') + '<tag>x</tag>'))}</source>"
    yield "a commit of nothing", [(1, COMMIT), (1, COMMIT)]
    yield "a discard", [(1, edit("<tag>a</tag>")), (1, DISCARD), (1, COMMIT)]
    yield "an edit of running", [(1, f"<edit-config>{RUNNING}{config(top('<tag>a</tag>'))}</edit-config>")]
    yield (
        "copy running to candidate",
        [
            (1, edit("<tag>a</tag>")),
            (1, f"<copy-config>{CANDIDATE}<source><running/></source></copy-config>"),
            (1, COMMIT),
        ],
    )
    yield "copy a configuration to candidate", [(1, f"<copy-config>{CANDIDATE}{source}</copy-config>"), (1, DISCARD)]
    yield (
        "an edit of which one part is wrong",
        [
            (1, edit("<tag>a</tag><types><int8>x</int8></types><tag>b</tag>")),
            (1, edit("<tag>a</tag>" + '<mode nc:operation="delete"/>')),
            (
                1,
                edit(
                    "<tag>a</tag>" + '<mode nc:operation="delete"/>', "<error-option>rollback-on-error</error-option>"
                ),
            ),
            (1, COMMIT),
        ],
    )
    yield (
        "values twice",
        [
            (1, edit("<mode>plain</mode><mode>special</mode>")),
            (1, edit("<tag>a</tag><tag>a</tag>")),
            (1, edit(entry("a") + entry("a", "<note>x</note>"))),
            (1, edit(entry("a", "<note>x</note><note>y</note>"))),
            (1, COMMIT),
        ],
    )
    yield (
        "an edit that only tests",
        [
            (1, edit("<tag>a</tag>", "<test-option>test-only</test-option>")),
            (1, edit("<limits><low>9</low><high>3</high></limits>", "<test-option>test-only</test-option>")),
            (1, COMMIT),
        ],
    )


# -- filters -----------------------------------------------------------------------------


def get(inner: str, source: str = "candidate") -> str:
    return f"<get-config><source><{source}/></source>{inner}</get-config>"


def subtree(xml: str) -> str:
    return get(f'<filter type="subtree">{xml}</filter>')


def xpath(select: str) -> str:
    return get(f'<filter type="xpath" xmlns:n="{NEUTRAL}" select="{select}"/>')


def filters() -> Iterator[tuple[str, list[Request]]]:
    data = (
        entry("a", "<note>x</note><number>1</number>") + entry("b", "<note>y</note>")
        + "<pair><left>1</left><right>r</right><value>v</value></pair><tag>one</tag><tag>two</tag><mode>plain</mode>"
    )  # fmt: skip
    asked = [
        subtree(top("")),
        subtree(top("<mode/>")),
        subtree(top("<entry/>")),
        subtree(top("<entry><name/></entry>")),
        subtree(top(entry("a"))),
        subtree(top(entry("a", "<note/>"))),
        subtree(top("<entry><note>y</note></entry>")),
        subtree(top("<entry><note>y</note><name/></entry>")),
        subtree(top(entry("nobody"))),
        subtree(top(entry("a", "<note/>") + entry("b", "<number/>"))),
        subtree(top("<mode>special</mode><tag/>")),
        subtree(top("<pair><left>1</left><value/></pair>")),
        subtree(top("<tag>one</tag>")),
        subtree(top("<nothing/>")),
        subtree('<top xmlns="urn:x"/>'),
        subtree("<top/>"),
        subtree(""),
        xpath("/n:top/n:mode"),
        xpath("/n:top/n:entry[n:name='a']/n:note"),
        xpath("/n:top/n:entry[n:number &gt; 0]"),
        xpath("/n:top/n:nothing"),
        xpath("/n:top/n:entry/n:name | /n:top/n:mode"),
        xpath("/x:top"),
        xpath("/n:top["),
        xpath("1 + 1"),
        get('<filter type="regex"/>'),
        get('<filter type="xpath"/>'),
        get("", "running"),
    ]
    yield "filters", [(1, edit(data)), *[(1, request) for request in asked]]


def defaults() -> Iterator[tuple[str, list[Request]]]:
    space = "urn:ietf:params:xml:ns:yang:ietf-netconf-with-defaults"
    for value in ("7", "8", ""):  # its default, another one, none
        leaf = f"<with-default>{value}</with-default>" if value else ""
        asked = [
            get(
                f'<filter type="subtree">{top("<types><with-default/></types>")}</filter>'
                f'<with-defaults xmlns="{space}">{mode}</with-defaults>'
            )
            for mode in ("report-all", "trim", "explicit", "nonsense")
        ]
        yield (
            f"with-defaults where the leaf is {value or 'not there'}",
            [(1, edit(f"<types><int8>1</int8>{leaf}</types>")), (1, COMMIT), *[(1, request) for request in asked]],
        )


def confirmed() -> Iterator[tuple[str, list[Request]]]:
    start = "<commit><confirmed/><confirm-timeout>600</confirm-timeout>{}</commit>"
    persist, persist_id = "<persist>x</persist>", "<persist-id>{}</persist-id>"
    cancel = "<cancel-commit>{}</cancel-commit>"
    yield "a confirmed commit that is confirmed", [(1, edit("<tag>a</tag>")), (1, start.format("")), (1, COMMIT)]
    yield (
        "a confirmed commit that is cancelled",
        [
            (1, edit("<tag>a</tag>")),
            (1, start.format("")),
            (1, cancel.format("")),
            (1, cancel.format("")),
            (1, DISCARD),
        ],
    )
    yield (
        "a confirmed commit of another session",
        [
            (1, edit("<tag>a</tag>")),
            (1, start.format(persist)),
            (2, f"<commit>{persist_id.format('y')}</commit>"),
            (2, cancel.format(persist_id.format("y"))),
            (2, f"<commit>{persist_id.format('x')}</commit>"),
        ],
    )
    yield "a confirmed commit of no time", [(1, "<commit><confirmed/><confirm-timeout>0</confirm-timeout></commit>")]


STORIES: dict[str, list[Request]] = {
    name: requests
    for family in (
        types,
        operations,
        default_operations,
        constraints,
        malformed,
        locks,
        datastores,
        filters,
        defaults,
        confirmed,
    )
    for name, requests in family()
}
