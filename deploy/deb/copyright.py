"""``copyright.py SITE PACKAGE``: print debian/copyright (DEP-5) of a folder of packages, as each says it of itself.

Holders and texts are those of the licence files that a wheel brings; a licence of which Debian has the text is named.
A package without a name of its licence, and one with another licence than were looked at, ends the build.
"""

import importlib.metadata
import re
import sys
from pathlib import Path

_HEAD = """Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: SuperNetflow
Comment: Paths are those of the installed package, below /usr/lib/@package@/lib/python3.11/site-packages.

Files: *
Copyright: 2026 the SuperNetflow authors
License: Apache-2.0

Files: bpf/*
Copyright: 2026 the SuperNetflow authors
License: GPL-2.0-only OR Apache-2.0

Files: yang/ietf/*
Copyright: IETF Trust and the persons identified as authors of the code
License: BSD-3-Clause
"""
# Words of metadata that have no expression of SPDX, and the expression that is meant.
_MEANT = {
    "Apache": "Apache-2.0",
    "Apache-2": "Apache-2.0",
    "Apache-2.0": "Apache-2.0",
    "BSD": "BSD-3-Clause",
    "BSD License": "BSD-3-Clause",
    "BSD-3-Clause": "BSD-3-Clause",
    "LGPL v2.1+": "LGPL-2.1-or-later",
    "MIT": "MIT",
    "MIT License": "MIT",
}
# Debian has their texts.
_COMMON = {
    "Apache-2.0": "Apache-2.0",
    "Apache-2.0 AND BSD-2-Clause": "Apache-2.0; that of BSD-2-Clause is at the begin of prometheus_client/decorator.py",
    "GPL-2.0-only OR Apache-2.0": "GPL-2 and Apache-2.0",
    "LGPL-2.1": "LGPL-2.1",
    "LGPL-2.1-or-later": "LGPL-2.1",
    "MPL-2.0": "MPL-2.0",
}
_LOOKED_AT = {
    "Apache-2.0 OR BSD-3-Clause",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSD-3-Clause AND 0BSD AND MIT AND Zlib AND CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "PSF-2.0",
    *_COMMON,
}
_OF_A_TEXT = "Free Software Foundation"  # the holder of a licence's text, not of what is under it
# Libraries that are in the wheels without a word in their licence files.
_BUNDLED = {
    "cryptography": "OpenSSL (Apache-2.0) is linked in; sboms/ lists the crates of Rust.",
    "duckdb": "What DuckDB brings in its third_party folder is linked in: MIT, BSD-3-Clause, Apache-2.0, Unicode-3.0.",
    "lxml": "libxml2 and libxslt (MIT), libiconv (LGPL-2.1-or-later) and zlib (Zlib) are linked in.",
    "numpy": "numpy.libs has OpenBLAS (BSD-3-Clause), libgfortran (GPL-3.0 with GCC exception), libquadmath (LGPL).",
    "pyarrow": "Its LICENSE.txt, in its .dist-info, lists what is linked in.",
    "pynacl": "libsodium (ISC) is linked in.",
    "pyzmq": "pyzmq.libs has libzmq (MPL-2.0) and libsodium (ISC).",
}


def main(site: Path, package: str) -> None:
    """Print the file; raises SystemExit with a sentence for a licence that nobody looked at."""
    print(_HEAD.replace("@package@", package))
    common = {"Apache-2.0", "GPL-2.0-only OR Apache-2.0"}
    for found in sorted(importlib.metadata.distributions(path=[str(site)]), key=lambda each: each.name.lower()):
        if found.name == "supernetflow":  # what the head says; its third text
            own = next(
                site / str(each) for each in found.files or () if str(each).endswith("LICENSES/BSD-3-Clause.txt")
            )
            print(f"License: BSD-3-Clause\n{_text(own)}\n")
            continue
        licence, files = _licence(found), _licence_files(found, site)
        if licence in _COMMON:
            common.add(licence)
        elif not files:
            raise SystemExit(f"{found.name} brings no text of its licence {licence}.")
        print("Files: " + "\n ".join(_paths(found)))
        print("Copyright: " + "\n ".join(_holders(found, files)))
        print(f"License: {licence}" + ("" if licence in _COMMON else "\n" + _text(files[0])))
        if (said := _BUNDLED.get(found.name.lower())) is not None:
            print(f"Comment: {said}")
        print()
    for licence in sorted(common):
        print(f"License: {licence}\n The text is in /usr/share/common-licenses: {_COMMON[licence]}.\n")


def _licence(found: importlib.metadata.Distribution) -> str:
    said = found.metadata
    kinds = [each.split(" :: ")[-1] for each in said.get_all("Classifier") or () if each.startswith("License ::")]
    licence = said["License-Expression"] or next((_MEANT[it] for it in (said["License"], *kinds) if it in _MEANT), "")
    if licence not in _LOOKED_AT:
        raise SystemExit(f"{found.name} has a licence that deploy/deb/copyright.py does not know: {licence or 'none'}.")
    return licence


def _licence_files(found: importlib.metadata.Distribution, site: Path) -> list[Path]:
    """Return the texts of a package, the one of the package itself first: it is the shortest way down."""
    named = [Path(str(each)) for each in found.files or () if ".dist-info/" in str(each)]
    texts = [each for each in named if re.match(r"(?i)(licen[cs]e|copying)", each.name)]
    return [site / each for each in sorted(texts, key=lambda each: (len(each.parts), each.name != "LICENSE", each))]


def _paths(found: importlib.metadata.Distribution) -> list[str]:
    tops = {str(each).split("/")[0] for each in found.files or () if not str(each).startswith("..")}
    return [
        top if top.endswith((".py", ".so")) else f"{top}/*" for top in sorted(tops - {"__pycache__", "docs", "example"})
    ]


def _holders(found: importlib.metadata.Distribution, files: list[Path]) -> list[str]:
    lines = [line for file in files[:1] for line in file.read_text(errors="replace").splitlines()]
    told = [" ".join(line.strip(" *#.").split()) for line in lines if re.match(r"(?i)\W*copyright\b.*\d{4}", line)]
    holders = [re.sub(r"(?i)^copyright:?\s*(\(c\)|©)?\s*", "", line) for line in told if _OF_A_TEXT not in line]
    said = found.metadata
    return list(dict.fromkeys(holders)) or [said["Author"] or said["Author-email"] or "its authors"]


def _text(file: Path) -> str:
    return "\n".join(
        f" {line.rstrip()}" if line.strip() else " ." for line in file.read_text(errors="replace").splitlines()
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
