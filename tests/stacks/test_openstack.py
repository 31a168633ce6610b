"""The templates of OpenStack by Heat's own engine, and faults that it or the own checks refuse."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from base64 import b64encode
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pytest
import yaml

from deploy.openstack.checking import check_folder, check_user_data
from feed.consumer import key_pair
from feed.late import beside
from tests.stacks.validators import verdicts
from tests.test_house import ROOT

OURS = ROOT / "deploy" / "openstack"
ADMIN_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGd4b0Zc4pV1mY0ZcO0a1bGqgq3m5p2t8X0wN9sRkQ7e admin@noc"
COMMON = {
    "management_network": "management",
    "clients_cidr": "192.0.2.0/24",
    "flavor": "snf.medium",
    "admin_key": ADMIN_KEY,
    "n4_network": "n4-mirror",
}
MIRROR = COMMON | {"n3_network": "n3-mirror", "n6_network": "n6-mirror"}
INLINE = COMMON | {"n3_ran_network": "ran", "n3_core_network": "core"}
N6_PAIR = {"n6_core_network": "n6-core", "n6_dn_network": "dn"}
UPF = {f"{port}_tapped": f"0000000{n}-0000-4000-8000-000000000000" for n, port in enumerate(("n3", "n6", "n4"), 1)}
PUBLIC, SECRET = key_pair()
GIVEN_KEYS = {
    "pseudonym_key": b64encode(os.urandom(32)).decode(),
    "publisher_keys": f"{PUBLIC} {SECRET}",
    "consumer_key": key_pair()[0],
}
GROUP = "0000000a-0000-4000-8000-000000000000"

VARIANTS: dict[str, tuple[str, list[str], dict[str, str]]] = {
    "mirror": ("mirror.yaml", [], MIRROR),
    "mirror-virtio": ("mirror.yaml", ["virtio"], MIRROR),
    "mirror-sriov": ("mirror.yaml", ["sriov"], MIRROR),
    "mirror-tapped": ("mirror.yaml", ["virtio"], MIRROR | UPF),
    "mirror-all": (
        "mirror.yaml",
        ["sriov"],
        MIRROR | GIVEN_KEYS | {"server_group": GROUP, "availability_zone": "nova:c7"},
    ),
    "mirror-ipv6": ("mirror.yaml", [], MIRROR | {"clients_cidr": "2001:db8::/32", "clients_ethertype": "IPv6"}),
    "inline": ("inline.yaml", ["virtio"], INLINE),
    "inline-sriov": ("inline.yaml", ["sriov"], INLINE | N6_PAIR),
    "inline-all": ("inline.yaml", ["virtio"], INLINE | N6_PAIR | GIVEN_KEYS | {"n4_tapped": UPF["n4_tapped"]}),
}


def case(folder: Path, file: str, environments: list[str], parameters: dict[str, str]) -> dict[str, Any]:
    return {
        "template": str(folder / file),
        "environments": [str(folder / "env" / f"{name}.yaml") for name in environments],
        "parameters": parameters,
    }


@pytest.fixture(scope="module")
def stacks() -> dict[str, dict[str, Any]]:
    """Return each variant as the engine makes it."""
    said = verdicts("heat", "heat_engine.py", [case(OURS, *variant) for variant in VARIANTS.values()])
    return dict(zip(VARIANTS, said, strict=True))


def of_type(stack: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    return {name: r["properties"] for name, r in stack["resources"].items() if r["type"] == kind}


def user_data(stack: dict[str, Any]) -> str:
    (server,) = of_type(stack, "OS::Nova::Server").values()
    return str(server["user_data"])


class TestVariants:
    """Each variant is a stack that the engine would make."""

    @pytest.mark.parametrize("variant", VARIANTS)
    def test_the_engine_takes_it(self, stacks, variant):
        assert stacks[variant]["refused"] is None

    @pytest.mark.parametrize(
        ("variant", "kind"), [("mirror", "normal"), ("mirror-sriov", "direct"), ("inline-sriov", "direct")]
    )
    def test_an_environment_says_the_kind_of_the_ports_that_are_read(self, stacks, variant, kind):
        ports = of_type(stacks[variant], "OS::Neutron::Port")

        assert {p["binding:vnic_type"] for name, p in ports.items() if name != "management_port"} == {kind}
        assert ports["management_port"]["binding:vnic_type"] == "normal"

    def test_a_virtual_function_is_trusted(self, stacks):
        ports = of_type(stacks["mirror-sriov"], "OS::Neutron::Port")

        assert ports["n3_port"]["value_specs"] == {"binding:profile": {"trusted": "true"}}

    @pytest.mark.parametrize("variant", VARIANTS)
    def test_what_is_read_has_neither_port_security_nor_an_address(self, stacks, variant):
        ports = of_type(stacks[variant], "OS::Neutron::Port")
        read = {name: p for name, p in ports.items() if name != "management_port"}

        assert len(read) >= 3
        assert all(p["port_security_enabled"] is False and p["no_fixed_ips"] is True for p in read.values())
        assert ports["management_port"]["security_groups"] == ["id-of-management_rules"]

    def test_clients_reach_netconf_and_feed_and_nothing_else(self, stacks):
        (rules,) = (g["rules"] for g in of_type(stacks["mirror-ipv6"], "OS::Neutron::SecurityGroup").values())

        inwards = [
            (r["protocol"], r["port_range_min"], r["port_range_max"]) for r in rules if r["direction"] == "ingress"
        ]
        assert sorted(inwards) == [("tcp", 830, 830), ("tcp", 5556, 5557)]
        assert {(r["ethertype"], r["remote_ip_prefix"]) for r in rules if r["direction"] == "ingress"} == {
            ("IPv6", "2001:db8::/32")
        }

    def test_management_is_the_first_port_of_the_machine(self, stacks):
        (server,) = of_type(stacks["inline-all"], "OS::Nova::Server").values()

        names = [network["port"].removeprefix("id-of-").removesuffix("_port") for network in server["networks"]]
        assert names == ["management", "n3_ran", "n3_core", "n4", "n6_core", "n6_dn"]

    def test_taps_copy_both_directions_of_the_upf_s_ports(self, stacks):
        flows = of_type(stacks["mirror-tapped"], "OS::Neutron::TaaS::TapFlow")
        services = of_type(stacks["mirror-tapped"], "OS::Neutron::TaaS::TapService")

        assert {(f["port"], f["tap_service"], f["direction"]) for f in flows.values()} == {
            (UPF[f"{port}_tapped"], f"id-of-{port}_tap", "BOTH") for port in ("n3", "n6", "n4")
        }
        assert {s["port"] for s in services.values()} == {"id-of-n3_port", "id-of-n6_port", "id-of-n4_port"}
        assert of_type(stacks["mirror"], "OS::Neutron::TaaS::TapFlow") == {}

    def test_a_group_and_a_zone_are_those_that_are_given(self, stacks):
        (server,) = of_type(stacks["mirror-all"], "OS::Nova::Server").values()
        (plain,) = of_type(stacks["mirror"], "OS::Nova::Server").values()

        assert (server["scheduler_hints"], server["availability_zone"]) == ({"group": GROUP}, "nova:c7")
        assert not {"scheduler_hints", "availability_zone"} & plain.keys()

    def test_outputs_say_where_netconf_is_and_the_ports_addresses(self, stacks):
        out, ports = stacks["mirror"]["outputs"], of_type(stacks["mirror"], "OS::Neutron::Port")

        assert out["netconf_address"].startswith("192.0.2.")
        assert out["feed_endpoint"] == f"tcp://{out['netconf_address']}:5556"
        assert out["snapshot_endpoint"] == beside(out["feed_endpoint"])
        assert out["ports"].keys() == {"n3", "n6", "n4"}
        assert len(set(out["ports"].values())) == len(ports) - 1

    def test_an_endpoint_of_an_ipv6_network_has_its_address_in_brackets(self, stacks):
        out = stacks["mirror-ipv6"]["outputs"]

        assert out["netconf_address"].startswith("2001:db8::")
        assert out["feed_endpoint"] == f"tcp://[{out['netconf_address']}]:5556"
        assert out["snapshot_endpoint"] == beside(out["feed_endpoint"])


class TestUpfs:
    """A stack of several probes has one for each UPF, each on a host of its own."""

    @pytest.fixture(scope="class")
    @classmethod
    def groups(cls) -> dict[str, dict[str, Any]]:
        """Return three probes of each kind as the engine makes them, and stacks that it refuses."""
        secret = {"pseudonym_key": GIVEN_KEYS["pseudonym_key"]}
        asked: dict[str, tuple[list[str], dict[str, Any]]] = {
            "mirror": (["upfs-mirror"], {"count": 3, "name": "upf", "probe": MIRROR, "probe_secrets": secret}),
            "inline": (["upfs-inline"], {"count": 3, "probe": INLINE | N6_PAIR}),
            "together": (["upfs-mirror"], {"count": 3, "probe": MIRROR, "anti_affinity": False}),
            "too many": (["upfs-mirror"], {"count": 9, "probe": MIRROR}),
            "unknown parameter": (["upfs-mirror"], {"probe": MIRROR | {"flavr": "snf.medium"}}),
            "other kind": (["upfs-inline"], {"probe": MIRROR}),
            "no kind": ([], {"probe": MIRROR}),
        }
        cases = [case(OURS, "upfs.yaml", *given) for given in asked.values()]
        return dict(zip(asked, verdicts("heat", "heat_engine.py", cases), strict=True))

    @pytest.mark.parametrize(("kind", "name"), [("mirror", "upf"), ("inline", "supernetflow")])
    def test_each_has_a_name_of_its_own_and_the_group_of_all(self, groups, kind, name):
        assert groups[kind]["refused"] is None
        members = groups[kind]["members"]["probes"]

        assert {m["name"] for m in members.values()} == {f"{name}-{n}" for n in range(3)}
        assert {m["server_group"] for m in members.values()} == {"id-of-hosts"}
        assert of_type(groups[kind], "OS::Nova::ServerGroup")["hosts"]["policies"] == ["anti-affinity"]

    def test_the_engine_takes_what_each_member_is_given(self, groups):
        given = [m | {"server_group": GROUP} for m in groups["mirror"]["members"]["probes"].values()]

        said = verdicts("heat", "heat_engine.py", [case(OURS, "mirror.yaml", [], member) for member in given])

        assert [verdict["refused"] for verdict in said] == [None] * 3
        assert all(member["pseudonym_key"] == GIVEN_KEYS["pseudonym_key"] for member in given)

    def test_they_may_be_on_one_host_when_that_is_asked_for(self, groups):
        assert of_type(groups["together"], "OS::Nova::ServerGroup") == {}
        assert all("server_group" not in m for m in groups["together"]["members"]["probes"].values())

    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("too many", "One stack has 1 to 8 probes."),
            ("unknown parameter", "Unknown Property flavr"),
            ("other kind", "Unknown Property n3_network"),
            ("no kind", "The Resource Type (SuperNetflow::Probe) could not be found."),
        ],
    )
    def test_what_makes_no_probe_is_refused(self, groups, name, words):
        assert words in groups[name]["refused"]

    def test_its_outputs_are_outputs_of_either_kind(self):
        upfs, *kinds = (yaml.safe_load((OURS / f"{name}.yaml").read_text()) for name in ("upfs", "mirror", "inline"))
        asked = {output["value"]["get_attr"][1] for output in upfs["outputs"].values()}

        assert all(asked <= kind["outputs"].keys() for kind in kinds)


class TestUserData:
    """A machine gets at its first boot what cloud-init understands."""

    @pytest.mark.parametrize("variant", VARIANTS)
    def test_the_own_checks_take_it(self, stacks, variant):
        assert list(check_user_data(user_data(stacks[variant]))) == []

    @pytest.mark.parametrize("variant", VARIANTS)
    def test_each_port_is_named_by_the_address_that_neutron_gave_it(self, stacks, variant):
        command = yaml.safe_load(user_data(stacks[variant]))["runcmd"][0]
        addresses = {mac for mac in stacks[variant]["outputs"]["ports"].values() if mac}

        assert set(re.findall(r"fa:16:3e:[0-9a-f:]{8}", " ".join(command))) == addresses

    @pytest.mark.parametrize("variant", VARIANTS)
    def test_the_service_is_started_after_the_configuration_and_nobody_waits_for_it(self, stacks, variant):
        _, start = yaml.safe_load(user_data(stacks[variant]))["runcmd"]

        assert start == ["systemctl", "start", "--no-block", "supernetflow.service"]

    def test_keys_are_files_of_the_service_alone(self, stacks):
        files = {f["path"]: f for f in yaml.safe_load(user_data(stacks["mirror-all"]))["write_files"]}
        keys = {path: f for path, f in files.items() if path.startswith("/etc/supernetflow/keys/")}

        assert {Path(path).name for path in keys} == {"pseudonyms.key", "publisher.curve", "analytics.curve"}
        assert {(f["owner"], f["permissions"]) for f in keys.values()} == {("root:supernetflow", "0640")}
        assert keys["/etc/supernetflow/keys/publisher.curve"]["content"] == (
            f"public_key={PUBLIC}\nsecret_key={SECRET}\n"
        )

    def test_without_keys_none_is_written(self, stacks):
        files = [f["path"] for f in yaml.safe_load(user_data(stacks["mirror"]))["write_files"]]

        assert files == ["/etc/default/supernetflow", "/etc/supernetflow/admin.pub"]

    @pytest.mark.parametrize(("variant", "listens"), [("mirror", "0.0.0.0:830"), ("mirror-ipv6", "[::]:830")])
    def test_netconf_listens_on_addresses_of_the_clients_kind(self, stacks, variant, listens):
        files = {f["path"]: f["content"] for f in yaml.safe_load(user_data(stacks[variant]))["write_files"]}

        assert f'SNF_OPTIONS="--netconf {listens}"' in files["/etc/default/supernetflow"]

    def test_cloud_init_of_the_image_takes_it(self, stacks, tmp_path):
        paths = [tmp_path / variant for variant in VARIANTS]
        for path in paths:
            path.write_text(user_data(stacks[path.name]))

        done = subprocess.run(
            [ROOT / "deploy" / "image" / "check-user-data", *paths], capture_output=True, text=True, check=False
        )

        assert (done.returncode, done.stdout) == (0, f"cloud-init of the image takes {len(paths)}\n"), done.stderr


class TestFirstConfiguration:
    """The files and the command of the user data make a configuration that the function starts with."""

    @pytest.fixture(scope="class")
    @classmethod
    def configured(cls, stacks, tmp_path_factory) -> dict[str, Path]:
        """Return a folder for each variant, as /etc/supernetflow of its machine is after the first boot."""
        below, found = tmp_path_factory.mktemp("machines"), {}
        for variant in VARIANTS:
            found[variant] = folder = below / variant / "supernetflow"
            given = yaml.safe_load(user_data(stacks[variant]).replace("/etc/", f"{folder.parent}/"))
            for file in given["write_files"]:
                path = Path(file["path"])
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(file["content"])
                path.chmod(int(file["permissions"], 8))
            program, *words = given["runcmd"][0]
            command = [Path(sys.executable).parent / program, *words, "--dir", folder, "--elsewhere"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
        return found

    @pytest.mark.parametrize("variant", VARIANTS)
    def test_the_function_s_own_check_takes_it(self, configured, variant):
        startup = configured[variant] / "startup.xml"

        command = [Path(sys.executable).parent / "snf", "config", "check", startup, "--output", "json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)

        assert json.loads(done.stdout)["ok"], done.stdout

    @pytest.mark.parametrize("variant", VARIANTS)
    def test_it_reads_the_ports_of_the_stack(self, stacks, configured, variant):
        text = (configured[variant] / "startup.xml").read_text()
        addresses = {mac for mac in stacks[variant]["outputs"]["ports"].values() if mac}

        assert set(re.findall(r"<mac-address>(.*?)</mac-address>", text)) == addresses
        assert text.count("<mode>inline</mode>") == (0 if variant.startswith("mirror") else len(addresses) - 1)

    def test_the_keys_are_those_that_were_given(self, configured):
        text = (configured["inline-all"] / "startup.xml").read_text()

        for key in (*GIVEN_KEYS["publisher_keys"].split(), GIVEN_KEYS["pseudonym_key"], GIVEN_KEYS["consumer_key"]):
            assert f">{escape(key)}<" in text

    def test_it_has_the_name_of_its_machine_in_the_feed(self, stacks, configured):
        for variant, folder in configured.items():
            (server,) = of_type(stacks[variant], "OS::Nova::Server").values()
            assert f"><name>{server['name']}</name></network-function>" in (folder / "startup.xml").read_text()

    def test_without_keys_each_machine_has_its_own(self, configured):
        one, other = (
            re.findall(r"key>(.*?)<", (configured[v] / "startup.xml").read_text()) for v in ("mirror", "inline")
        )

        assert len(one) == 4
        assert not set(one) & set(other)

    def test_the_administrator_is_the_one_that_was_given(self, configured):
        assert (configured["mirror"] / "users").read_text() == f'admin group="admin" {ADMIN_KEY}\n'


@dataclass(frozen=True)
class Fault:
    """A mistake in a template, in what is given to it or in user data, and the words in which it is refused."""

    words: str
    old: str = ""
    new: str = ""
    file: str = "mirror.yaml"
    given: dict[str, str] = field(default_factory=dict)
    missing: str = ""
    untapped: bool = False

    @property
    def case(self) -> tuple[str, list[str], dict[str, str]]:
        """A template and parameters that the engine would take if it were not for the fault."""
        if self.file == "inline.yaml":
            return self.file, [], INLINE | self.given
        parameters = MIRROR | ({} if self.untapped else UPF) | self.given
        return "mirror.yaml", [], {name: value for name, value in parameters.items() if name != self.missing}

    def planted(self, folder: Path) -> Path:
        """Return a copy of the templates with the fault in it."""
        shutil.copytree(OURS, folder)
        path = folder / self.file
        text = path.read_text()
        assert self.old in text, f"{self.file} has no {self.old}"
        path.write_text(text.replace(self.old, self.new, 1))
        return folder


FAULTS = {
    by: {name: Fault(**fault) for name, fault in faults.items()}
    for by, faults in yaml.safe_load((Path(__file__).parent / "faults_openstack.yaml").read_text()).items()
}


@pytest.fixture(scope="module")
def refusals(tmp_path_factory) -> dict[str, str | None]:
    """Return the sentence in which the engine refuses each fault, if it does."""
    faults, below = FAULTS["engine"] | FAULTS["own"], tmp_path_factory.mktemp("faults")
    cases = [case(fault.planted(below / str(n)), *fault.case) for n, fault in enumerate(faults.values())]
    return dict(zip(faults, (said["refused"] for said in verdicts("heat", "heat_engine.py", cases)), strict=True))


class TestFaults:
    """A template that is wrong is refused in one sentence before anything is made."""

    @pytest.mark.parametrize("name", FAULTS["engine"])
    def test_by_the_engine(self, refusals, name):
        assert FAULTS["engine"][name].words in (refusals[name] or "")

    @pytest.mark.parametrize("name", FAULTS["own"])
    def test_by_the_own_checks_and_not_by_the_engine(self, refusals, tmp_path, name):
        fault = FAULTS["own"][name]

        said = list(check_folder(fault.planted(tmp_path / "templates")))

        assert [s for s in said if fault.words in s], said
        assert refusals[name] is None
