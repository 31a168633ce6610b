"""Makes a package of ETSI NFV SOL004 from the descriptor, the templates of OpenStack, the modules and an image.

The same files give the same package, byte by byte, but for a signature.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
import uuid
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from deploy.csar.manifest import SigningError, sign, text_of

__all__ = ["main"]

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
META, MANIFEST, CERTIFICATE, CHANGES = (
    "TOSCA-Metadata/TOSCA.meta",
    "supernetflow.mf",
    "supernetflow.cert",
    "ChangeLog.txt",
)
IMAGE = "Files/images/supernetflow.qcow2"
QCOW2 = b"QFI\xfb"  # docs/interop/qcow2.txt of QEMU
TYPES = ("etsi_nfv_sol001_common_types.yaml", "etsi_nfv_sol001_vnfd_types.yaml")
# Folders of the source of tacker that have the types of SOL001; scripts/validators tosca unpacks it.
IN_TACKER = {
    "2.6.1": "tacker/tests/unit/vnfm/infra_drivers/openstack/data/etsi_nfv",
    "2.7.1": "samples/free5gc/vnf/sample_free5gc_vnf_package/Definitions",
}
FLAVOURS = ("mirror", "inline")
# Entries of a zip have no date before this one.
EPOCH = (1980, 1, 1, 0, 0, 0)


class Refused(Exception):
    """The package is not made; the text says why and what to do."""


def main(arguments: list[str]) -> int:
    """Make a package, and return the exit status."""
    parser = argparse.ArgumentParser(prog="deploy/csar/build", description="Make a package of ETSI NFV SOL004.")
    parser.add_argument("out", type=Path, metavar="OUT.csar")
    parser.add_argument("--image", type=Path, help="the disk of deploy/image; without, the cloud has it already")
    parser.add_argument("--key", type=Path, help="private key that signs the manifest, PEM")
    parser.add_argument("--cert", type=Path, help="its certificate, PEM")
    parser.add_argument(
        "--types", type=Path, help="folder with the types of SOL001; without, those of tacker's package"
    )
    parser.add_argument("--sol001", choices=sorted(IN_TACKER), default="2.6.1", help="their version (2.6.1)")
    given = parser.parse_args(arguments)
    try:
        make(given.out, given.image, given.key, given.cert, given.types or types_of_tacker(given.sol001))
    except (Refused, SigningError) as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        print(f"{error.filename or given.out} cannot be read or written: {error.strerror}.", file=sys.stderr)
        return 2
    return 0


def make(out: Path, image: Path | None, key: Path | None, certificate: Path | None, types: Path) -> None:
    """Write a package. Raises Refused, SigningError or OSError, and leaves no half of one."""
    _look(out, image, key, certificate, types)
    files = dict(_files(image, types))
    if certificate:
        files[CERTIFICATE] = certificate.read_bytes()
    files[META] = _meta(signed=certificate is not None).encode()
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    if image:
        hashes[IMAGE] = _digest(image)
    manifest = text_of(_metadata(), _sets(files), dict(sorted(hashes.items())))
    if key and certificate:
        manifest = sign(manifest, key, certificate)
    files[MANIFEST] = manifest.encode()
    fresh = out.with_name(f".{out.name}.new")
    try:
        with zipfile.ZipFile(fresh, "w") as archive:
            for name in sorted(files, key=lambda name: (name != META, name)):
                archive.writestr(_entry(name), files[name])
            if image:
                with image.open("rb") as source, archive.open(_entry(IMAGE), "w", force_zip64=True) as target:
                    shutil.copyfileobj(source, target, 1 << 20)
        fresh.rename(out)
    finally:
        fresh.unlink(missing_ok=True)


def types_of_tacker(version: str) -> Path:
    """Return the folder of the types of SOL001 in the pinned source of tacker. Raises Refused."""
    done = subprocess.run([ROOT / "scripts" / "validators", "tosca"], stdout=subprocess.PIPE, text=True, check=False)
    found = next(Path(done.stdout.strip() or "/nowhere").glob(f"source/tacker-*/{IN_TACKER[version]}"), None)
    if done.returncode or not found:
        raise Refused("The types of SOL001 could not be had: give a folder with them by --types.")
    return found


def _look(out: Path, image: Path | None, key: Path | None, certificate: Path | None, types: Path) -> None:
    """Refuse what cannot become a package before anything is made."""
    if out.suffix != ".csar":
        raise Refused(f"{out} is no name for a package: it ends in .csar (R-506221).")
    if not out.parent.is_dir():
        raise Refused(f"{out.parent} is no folder: make it first.")
    if (key is None) != (certificate is None):
        raise Refused("A signature needs both: give --key and --cert.")
    for path in (image, key, certificate):
        if path and not path.is_file():
            raise Refused(f"{path} is no file.")
    if key and key.stat().st_mode & 0o077:
        raise Refused(f"Others on this host can read the key {key}: chmod go= {key}")
    if image:
        with image.open("rb") as start:
            if start.read(4) != QCOW2:
                raise Refused(f"{image} is no qcow2: deploy/image/build makes one.")
    if certificate and b"PRIVATE KEY" in certificate.read_bytes():
        raise Refused(
            f"{certificate} has a private key in it, and would be in the package: give the certificate alone."
        )
    for name in TYPES:
        if not (types / name).is_file():
            raise Refused(f"{types} has no {name}: give the folder of the types of SOL001.")


# -- contents ---------------------------------------------------------------------


def _files(image: Path | None, types: Path) -> Iterator[tuple[str, bytes]]:
    """Yield each file but the metadata, the manifest and the image."""
    values = {
        "version": _version(),
        # One for each version of the descriptor, the same wherever it is made (RFC 9562, 5.5).
        "descriptor_id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"urn:supernetflow:vnfd:{_version()}")),
        "image_file": f"../{IMAGE}",
        "image_sha256": _digest(image) if image else "",
        "image_bytes": str(image.stat().st_size) if image else "",
    }
    for path in sorted((HERE / "Definitions").glob("*.yaml")):
        yield f"Definitions/{path.name}", _filled(path.read_text(encoding="utf-8"), values, image is not None).encode()
    for name in TYPES:
        yield f"Definitions/{name}", (types / name).read_bytes()
    openstack = ROOT / "deploy" / "openstack"
    for flavour in FLAVOURS:
        names = (f"{flavour}.yaml", "upfs.yaml", "first-boot*.yaml", "env/virtio.yaml", "env/sriov.yaml")
        for path in sorted(path for name in (*names, f"env/upfs-{flavour}.yaml") for path in openstack.glob(name)):
            yield f"BaseHOT/{flavour}/{path.relative_to(openstack)}", path.read_bytes()
    for path in sorted((ROOT / "yang").rglob("*")):
        if path.is_file():
            yield f"Files/yang/{path.relative_to(ROOT / 'yang')}", path.read_bytes()
    for path in sorted((HERE / "Tests").iterdir()):
        yield f"Tests/{path.name}", path.read_bytes()
    yield CHANGES, (ROOT / "CHANGELOG.md").read_bytes()
    for path in (ROOT / "LICENSE", ROOT / "NOTICE", *sorted((ROOT / "LICENSES").iterdir())):
        yield f"Licenses/{path.stem}.txt", path.read_bytes()
    yield "Licenses/README.txt", (HERE / "licenses.txt").read_bytes()


def _filled(text: str, values: dict[str, str], with_image: bool) -> str:
    """Return a definition with its values; without an image there is no artefact of one."""
    if not with_image:
        text = re.sub(r"^ *# with an image:\n.*?^ *# end of the image\n", "", text, flags=re.M | re.S)
    text = re.sub(r"^ *# (?:with an image:|end of the image)\n", "", text, flags=re.M)
    return re.sub(r"@([a-z0-9_]+)@", lambda place: values[place[1]], text)


def _meta(signed: bool) -> str:
    lines = {
        "TOSCA-Meta-File-Version": "1.0",
        "CSAR-Version": "1.1",
        "Created-By": "SuperNetflow",
        "Entry-Definitions": "Definitions/supernetflow.yaml",
        "ETSI-Entry-Manifest": MANIFEST,
        "ETSI-Entry-Change-Log": CHANGES,
        "ETSI-Entry-Tests": "Tests",
        "ETSI-Entry-Licenses": "Licenses",
    } | ({"ETSI-Entry-Certificate": CERTIFICATE} if signed else {})
    return "".join(f"{name}: {value}\n" for name, value in lines.items())


def _metadata() -> dict[str, str]:
    return {
        "vnf_product_name": "SuperNetflow",
        "vnf_provider_id": "SuperNetflow",
        "vnf_package_version": _version(),
        "vnf_release_date_time": _released(),
    }


def _sets(files: dict[str, bytes]) -> dict[str, list[str]]:
    """Return the non-MANO artefacts by the sets that ONAP knows (R-146092)."""
    modules = sorted(name for name in files if name.startswith("Files/yang/") and name.endswith(".yang"))
    others = sorted(name for name in files if name.startswith(("BaseHOT/", "Files/yang/")) and name not in modules)
    return {"onap_yang_modules": modules, "onap_others": others}


def _version() -> str:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["version"])


def _released() -> str:
    """Return the time of the release: SOURCE_DATE_EPOCH, else that of the last commit."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not epoch:
        command = ["git", "-C", str(ROOT), "-c", "safe.directory=*", "log", "-1", "--format=%ct"]
        epoch = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    try:
        if not epoch.isdecimal():
            raise ValueError(epoch)
        return datetime.fromtimestamp(int(epoch), UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):  # beyond the year 9999, too
        raise Refused("The time of the release is not known: set SOURCE_DATE_EPOCH to seconds since 1970.") from None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, EPOCH)
    entry.compress_type = zipfile.ZIP_STORED if name == IMAGE else zipfile.ZIP_DEFLATED
    entry.external_attr = (0o755 if name.endswith(".sh") else 0o644) << 16
    entry.create_system = 3
    return entry
