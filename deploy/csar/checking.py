"""Checks a package: parts, hashes and signature (SOL004), and that each reference leads somewhere (SOL001).

Each fault is one sentence. Nothing is unpacked, and nothing outside of the file is read but certificates of --ca.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import stat
import sys
import zipfile
import zlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from deploy.csar import descriptor
from deploy.csar.manifest import METADATA, Manifest, parse, verify

__all__ = ["check", "main"]

META = "TOSCA-Metadata/TOSCA.meta"
# R-146092 of ONAP's requirements.
SETS = {
    "onap_ves_events",
    "onap_pm_dictionary",
    "onap_yang_modules",
    "onap_ansible_playbooks",
    "onap_pnf_sw_information",
    "onap_others",
}
ENTRIES = ("Entry-Definitions", "ETSI-Entry-Manifest", "ETSI-Entry-Change-Log", "ETSI-Entry-Licenses")
FOLDERS = {"ETSI-Entry-Tests", "ETSI-Entry-Licenses"}  # of the entries these may be folders (SOL004, table 4.1.2.3-1)
# Metadata of the manifest about the VNF, and the property of its type that says the same (SOL004, 4.3.2).
SAME = {"vnf_product_name": "product_name", "vnf_provider_id": "provider"}
PRIVATE = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")
VERSIONS = {"TOSCA-Meta-File-Version": "1.0", "CSAR-Version": "1.1"}
PLACE = re.compile(r"@[a-z0-9_]+@")
# Text files that a package has may not be larger: a check reads them whole.
LARGEST_TEXT = 16 << 20


def main(arguments: list[str]) -> int:
    """Check a package, and return the exit status."""
    parser = argparse.ArgumentParser(prog="deploy/csar/check", description="Check a package of ETSI NFV SOL004.")
    parser.add_argument("file", type=Path, metavar="FILE.csar")
    parser.add_argument("--ca", type=Path, help="certificates that the signing one has to come from, PEM")
    parser.add_argument("--signed", action="store_true", help="a package without a signature is wrong")
    given = parser.parse_args(arguments)
    for path in (given.file, given.ca):
        if path and not path.is_file():
            print(f"{path} is no file.", file=sys.stderr)
            return 2
    faults = list(check(given.file, given.ca, signed=given.signed or given.ca is not None))
    for fault in faults:
        print(fault)
    return 1 if faults else 0


def check(path: Path, authority: Path | None = None, signed: bool = False) -> Iterator[str]:
    """Yield what is wrong with a package; with *signed*, a missing signature too."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield from _archive(archive, authority, signed)
    except zipfile.BadZipFile as error:
        yield f"{path.name} is no zip: {error}."
    except (zlib.error, EOFError, RuntimeError, NotImplementedError, OSError) as error:
        # Damaged, encrypted, or packed in a way that zipfile does not know.
        yield f"{path.name} cannot be read: {error}."


def _archive(archive: zipfile.ZipFile, authority: Path | None, signed: bool) -> Iterator[str]:
    names = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"The package has {name} twice."
    for name in names:
        if name.startswith("/") or ".." in PurePosixPath(name).parts or "\\" in name:
            yield f"The package has {name}, which leads out of it."
    for entry in archive.infolist():
        if stat.S_ISLNK(entry.external_attr >> 16):
            yield f"The package has {entry.filename}, which is a link and no file."
        elif entry.file_size <= LARGEST_TEXT and PRIVATE.search(archive.read(entry)):
            yield f"{entry.filename} has a private key in it."
    if META not in names:
        yield f"The package has no {META}."
        return
    meta = yield from _meta(_text(archive, META), names)
    manifest = Manifest()
    if meta.get("ETSI-Entry-Manifest") in names:
        manifest = parse(_text(archive, meta["ETSI-Entry-Manifest"]))
        yield from _manifest(archive, meta, manifest)
        yield from _signature(archive, meta, manifest, authority, signed)
    yield from _definitions(archive, meta, names, manifest)


def _text(archive: zipfile.ZipFile, name: str) -> str:
    if archive.getinfo(name).file_size > LARGEST_TEXT:
        return ""
    return archive.read(name).decode("utf-8", errors="replace")


def _meta(text: str, names: list[str]) -> Any:
    """Yield what is wrong with TOSCA.meta, and return its first block."""
    found: dict[str, str] = {}
    for number, line in enumerate(text.split("\n\n", maxsplit=1)[0].splitlines(), 1):
        key, colon, value = line.partition(":")
        if not colon or not value.startswith(" "):
            yield f"Line {number} of {META} is no NAME: VALUE."
        elif key in found:
            yield f"{META} has {key} twice."
        found[key] = value.strip()
    for key, value in VERSIONS.items():
        if found.get(key) != value:
            yield f"{META} has {found.get(key, 'nothing')} for {key}, which is {value}."
    for key in ENTRIES:
        if key not in found:
            yield f"{META} has no {key}."
    for key, value in found.items():
        if "Entry" not in key or value in names:
            continue
        if not any(name.startswith(f"{value}/") for name in names):
            yield f"{META} has {value} for {key}, which is not in the package."
        elif key not in FOLDERS:
            yield f"{META} has {value} for {key}, which is not a file of the package."
    return found


def _manifest(archive: zipfile.ZipFile, meta: dict[str, str], manifest: Manifest) -> Iterator[str]:
    yield from manifest.faults
    for name in METADATA:
        if not manifest.metadata.get(name):
            yield f"The manifest has no {name}."
    when = manifest.metadata.get("vnf_release_date_time", "")
    if when and not _is_time(when):
        yield f"The manifest has {when} for vnf_release_date_time, which is no time of RFC 3339."
    names = {entry.filename for entry in archive.infolist() if not entry.is_dir()}
    for name in sorted(names - manifest.hashes.keys() - {meta["ETSI-Entry-Manifest"]}):
        yield f"{name} is in the package and not in the manifest."
    for name, (algorithm, said) in manifest.hashes.items():
        if name not in names:
            yield f"{name} is in the manifest and not in the package."
        elif algorithm not in {"SHA-256", "SHA-512"}:
            yield f"{name} has a hash of {algorithm or 'no algorithm'}, and SOL004 knows SHA-256 and SHA-512."
        elif said != _digest(archive, name, algorithm):
            yield f"{name} is not what the manifest has the hash of."
    for name, sources in manifest.sets.items():
        if name not in SETS:
            yield f"{name} is no set of non-MANO artefacts that is registered."
        for source in sources:
            if source not in manifest.hashes:
                yield f"{source} is in the set {name} and has no hash."


def _is_time(text: str) -> bool:
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", text):
        return False
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _digest(archive: zipfile.ZipFile, name: str, algorithm: str) -> str:
    with archive.open(name) as file:
        digest = hashlib.new(algorithm.replace("-", "").lower())
        while block := file.read(1 << 20):
            digest.update(block)
        return digest.hexdigest()


def _signature(
    archive: zipfile.ZipFile, meta: dict[str, str], manifest: Manifest, authority: Path | None, signed: bool
) -> Iterator[str]:
    certificate = meta.get("ETSI-Entry-Certificate", "")
    if not manifest.signature:
        if signed:
            yield "The manifest is not signed."
        elif certificate:
            yield f"{META} names a certificate, and the manifest is not signed."
    elif certificate not in archive.namelist():
        yield f"The manifest is signed, and {META} names no certificate that is in the package."
    else:
        yield from verify(manifest, archive.read(certificate), authority)


def _definitions(archive: zipfile.ZipFile, meta: dict[str, str], names: list[str], manifest: Manifest) -> Iterator[str]:
    entry = PurePosixPath(meta.get("Entry-Definitions", ""))
    templates: dict[str, Any] = {}
    for name in names:
        path = PurePosixPath(name)
        if path.parent != entry.parent or path.suffix not in {".yaml", ".yml"}:
            continue
        text = _text(archive, name)
        try:
            templates[path.name] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            yield f"{name} is no YAML: {' '.join(str(error).split())}."
            return
        for place in sorted(set(PLACE.findall(text))):
            yield f"{name} has no value for {place}."
    if entry.name not in templates:
        return
    try:
        yield from descriptor.check(templates, entry.name)
        for said, name in SAME.items():
            known = descriptor.values_of_vnf(templates, entry.name, name)
            if manifest.metadata.get(said) and known and manifest.metadata[said] not in known:
                told = f"the descriptor {' or '.join(sorted(known))} for {name}"
                yield f"The manifest has {manifest.metadata[said]} for {said}, and {told}."
        yield from _images(archive, templates, names, entry.parent)
        yield from _base_templates(archive, templates, names)
        yield from _base_files(archive, names)
    except (LookupError, TypeError, AttributeError, ValueError, yaml.YAMLError) as error:
        yield f"The definitions have not the form of a descriptor: {' '.join(str(error).split())}."


def _images(
    archive: zipfile.ZipFile, templates: dict[str, Any], names: list[str], folder: PurePosixPath
) -> Iterator[str]:
    """A file of an artefact is there, and what the descriptor says of an image holds for it."""
    for template in templates.values():
        for name, node in (((template or {}).get("topology_template") or {}).get("node_templates") or {}).items():
            for artifact in (node.get("artifacts") or {}).values():
                file = _within(folder, artifact["file"])
                if file not in names:
                    yield f"{name} has the artefact {artifact['file']}, which is not in the package."
                    continue
                said = node["properties"].get("sw_image_data")
                if not said:
                    yield f"{name} has an image, and no sw_image_data."
                    continue
                algorithm = said["checksum"]["algorithm"].upper()
                if said["checksum"]["hash"] != _digest(archive, file, algorithm):
                    yield f"{name} has a checksum of another image than {file}."
                size = f"{archive.getinfo(file).file_size} B"
                if said["size"] != size:
                    yield f"{name} has {said['size']} for the size of {file}, which has {size}."


def _within(folder: PurePosixPath, file: str) -> str:
    """Return the name in the package of a path that is given from a folder of it."""
    parts: list[str] = []
    for part in (*folder.parts, *PurePosixPath(file).parts):
        parts = parts[:-1] if part == ".." else [*parts, part]
    return "/".join(parts)


def _base_templates(archive: zipfile.ZipFile, templates: dict[str, Any], names: list[str]) -> Iterator[str]:
    """Each flavour has a template of Heat, which has a parameter for each configurable property."""
    types: dict[str, Any] = {}
    for template in templates.values():
        types |= (template or {}).get("data_types") or {}
    for template in templates.values():
        topology = (template or {}).get("topology_template") or {}
        flavour = ((topology.get("substitution_mappings") or {}).get("properties") or {}).get("flavour_id")
        if not flavour:
            continue
        base = f"BaseHOT/{flavour}/{flavour}.yaml"
        if base not in names:
            yield f"The flavour {flavour} has no {base}."
            continue
        parameters = yaml.safe_load(_text(archive, base)).get("parameters", {})
        for kind, body in types.items():
            if body.get("derived_from") != "tosca.datatypes.nfv.VnfAdditionalConfigurableProperties":
                continue
            for name in body.get("properties") or {}:
                if name not in parameters:
                    yield f"{kind} has {name}, which is no parameter of {base}."


def _base_files(archive: zipfile.ZipFile, names: list[str]) -> Iterator[str]:
    """User data and templates that the templates and environments of Heat read are in the package."""
    for name in names:
        path = PurePosixPath(name)
        if path.parts[0] != "BaseHOT" or path.suffix not in {".yaml", ".yml"} or path.name.startswith("first-boot"):
            continue  # user data with places in it are no YAML
        whole = yaml.safe_load(_text(archive, name))
        registry = whole.get("resource_registry") if isinstance(whole, dict) else None
        read = [*_files_of(whole), *(file for file in (registry or {}).values() if str(file).endswith(".yaml"))]
        for file in dict.fromkeys(_within(path.parent, str(file)) for file in read if "://" not in str(file)):
            if file not in names:
                yield f"{name} reads {file}, which is not in the package."


def _files_of(value: Any) -> Iterator[Any]:
    for key, inner in value.items() if isinstance(value, dict) else ():
        if key == "get_file":
            yield inner
        yield from _files_of(inner)
    for inner in value if isinstance(value, list) else ():
        yield from _files_of(inner)
