"""The manifest of a package (SOL004, 4.3.2): metadata, sets of non-MANO artefacts, a hash of each file, a signature.

The signature is a detached CMS of all that stands before it (SOL004, 4.3.6), by the program openssl.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["METADATA", "Manifest", "SigningError", "parse", "sign", "text_of", "verify"]

# SOL004, table 4.3.2-1, and R-795126 of ONAP's requirements: a manifest begins with these.
METADATA = ("vnf_product_name", "vnf_provider_id", "vnf_package_version", "vnf_release_date_time")
_BEGIN, _END = "-----BEGIN CMS-----", "-----END CMS-----"
_PAIR = re.compile(r"(\s*)([A-Za-z][\w.-]*):(?:\s+(\S.*))?$")


class SigningError(Exception):
    """A manifest could not be signed; the text says why."""


@dataclass(slots=True)
class Manifest:
    """A manifest as it was read: what it says, and what in it could not be read."""

    metadata: dict[str, str] = field(default_factory=dict)
    sets: dict[str, list[str]] = field(default_factory=dict)
    hashes: dict[str, tuple[str, str]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    signed: str = ""  # what the signature is of
    signature: str = ""


def text_of(metadata: Mapping[str, str], sets: Mapping[str, Sequence[str]], hashes: Mapping[str, str]) -> str:
    """Return a manifest with SHA-256 hashes, without a signature."""
    lines = ["metadata:", *(f"  {name}: {metadata[name]}" for name in METADATA), "", "non_mano_artifact_sets:"]
    for name, sources in sets.items():
        lines += [f"  {name}:", *(f"    Source: {source}" for source in sources)]
    for source, digest in hashes.items():
        lines += ["", f"Source: {source}", "Algorithm: SHA-256", f"Hash: {digest}"]
    return "\n".join(lines) + "\n"


def parse(text: str) -> Manifest:
    """Read a manifest; lines that it cannot have are faults."""
    found = Manifest(signed=text)
    if _BEGIN in text:
        at = text.index(_BEGIN)
        found.signed, found.signature = text[:at], text[at:]
        if not found.signature.rstrip().endswith(_END):
            found.faults.append(f"The signature of the manifest does not end with {_END}.")
    part, set_name, source, algorithm = "", "", "", ""
    for number, line in enumerate(found.signed.splitlines(), 1):
        if not line.strip():
            continue
        pair = _PAIR.match(line)
        if not pair:
            found.faults.append(f"Line {number} of the manifest is no NAME: VALUE.")
            continue
        indent, name, value = len(pair[1]), pair[2], pair[3] or ""
        if indent == 0 and not value:
            part = name
        elif part == "metadata" and indent:
            found.metadata[name] = value
        elif part == "non_mano_artifact_sets" and indent and not value:
            set_name = name
            found.sets[set_name] = []
        elif part == "non_mano_artifact_sets" and indent and name == "Source" and set_name:
            found.sets[set_name].append(value)
        elif indent == 0 and name == "Source":
            part, source, algorithm = "", value, ""
            if source in found.hashes:
                found.faults.append(f"The manifest has {source} twice.")
            found.hashes[source] = ("", "")
        elif indent == 0 and name == "Algorithm" and source:
            algorithm = value
        elif indent == 0 and name == "Hash" and source:
            found.hashes[source] = (algorithm, value.lower())
        else:
            found.faults.append(f"Line {number} of the manifest has {name} where it means nothing.")
    return found


def sign(text: str, key: Path, certificate: Path) -> str:
    """Return a manifest with a signature at its end. Raises SigningError."""
    command = ["openssl", "cms", "-sign", "-binary", "-md", "sha256", "-outform", "PEM"]
    done = subprocess.run(
        [*command, "-inkey", key, "-signer", certificate], input=text.encode(), capture_output=True, check=False
    )
    if done.returncode:
        raise SigningError(f"openssl does not sign with {key} and {certificate}: {_reason(done.stderr)}.")
    return text + done.stdout.decode()


def verify(manifest: Manifest, certificate: bytes, authority: Path | None) -> Iterator[str]:
    """Yield what is wrong with the signature; with *authority*, also with the certificate."""
    with tempfile.TemporaryDirectory() as name:
        below = Path(name)
        (below / "signed").write_bytes(manifest.signed.encode())
        (below / "signature").write_text(manifest.signature, encoding="ascii", errors="replace")
        (below / "certificate").write_bytes(certificate)
        trust: list[str | Path] = ["-CAfile", authority] if authority else ["-noverify"]
        command: list[str | Path] = ["openssl", "cms", "-verify", "-binary", "-inform", "PEM", "-purpose", "any"]
        command += ["-in", below / "signature", "-content", below / "signed", "-out", below / "out"]
        command += ["-nointern", "-certfile", below / "certificate", *trust]
        done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        yield f"The signature of the manifest does not hold: {_reason(done.stderr)}."


def _reason(stderr: bytes) -> str:
    """Return the last reason of openssl, without the number of the process and places in its text."""
    lines = [line for line in stderr.decode(errors="replace").splitlines() if line.strip()]
    parts = lines[-1].split(":") if lines else ["it says nothing"]
    return next((part for part in reversed(parts[:6]) if " " in part and "/" not in part), parts[0]).strip()
