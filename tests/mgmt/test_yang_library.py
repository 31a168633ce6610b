"""Modules as the function tells of them: yang-library in both its forms, and get-schema."""

import os
import subprocess
import sys

import pytest
from lxml import etree

from tests.mgmt.raw import LIBRARY, NM

CAPABILITY = "urn:ietf:params:netconf:capability"
L = {"l": LIBRARY}


@pytest.fixture
def client(bench):
    with bench.manager() as client:
        yield client


@pytest.fixture
def library(client):
    """Both trees of the module ietf-yang-library."""
    select = f'<yang-library xmlns="{LIBRARY}"/><modules-state xmlns="{LIBRARY}"/>'
    return client.get(filter=f"<filter>{select}</filter>").data_ele


@pytest.mark.clause("RFC 8525")
class TestLibrary:
    """yang-library and modules-state list what is implemented here, and what that imports (RFC 8525, RFC 7895)."""

    def test_it_is_valid(self, library, libyang_reads):
        libyang_reads(library)

    def test_features_of_netconf_are_its_capabilities(self, client, library):
        # RFC 6241, 8 and its module: each of these features has a capability of the same name.
        told = {c.removeprefix(f"{CAPABILITY}:").partition(":")[0] for c in client.session.server_capabilities}
        known = {"writable-running", "candidate", "confirmed-commit", "rollback-on-error", "validate", "startup", "url"}
        for module in ("//l:module-set/l:module", "//l:modules-state/l:module"):
            features = library.xpath(f"{module}[l:name='ietf-netconf']/l:feature/text()", namespaces=L)
            assert set(features) == told & (known | {"xpath"})

    def test_datastores(self, library):
        stores = library.xpath("//l:datastore[l:schema='all']/l:name/text()", namespaces=L)
        assert [name.partition(":")[2] for name in stores] == ["running", "candidate", "operational"]

    def test_nothing_of_the_compiler_and_no_path_of_the_machine(self, library):
        names = set(library.xpath("//l:module/l:name/text() | //l:import-only-module/l:name/text()", namespaces=L))
        assert not names & {"yang", "ietf-yang-structure-ext"}
        # ietf-origin imports it; no module implements it.
        assert library.xpath("//l:module-set/*[l:name='ietf-yang-metadata']", namespaces=L)[0].tag.endswith(
            "}import-only-module"
        )
        assert library.xpath("//l:location | //l:module/l:schema", namespaces=L) == []

    def test_both_forms_say_the_same(self, library):
        of_8525 = library.xpath("//l:module-set/l:module/l:name/text()", namespaces=L)
        implemented = "//l:modules-state/l:module[l:conformance-type='implement']"
        of_7895 = library.xpath(f"{implemented}/l:name/text()", namespaces=L)
        assert set(of_8525) == set(of_7895)

    def test_the_hello_names_the_set(self, client, library):
        told = [c for c in client.session.server_capabilities if ":yang-library:" in c]
        (name,) = library.xpath("//l:module-set-id/text()", namespaces=L)
        assert library.xpath("//l:content-id/text()", namespaces=L) == [name]
        assert set(told) == {
            f"{CAPABILITY}:yang-library:1.0?revision=2016-06-21&module-set-id={name}",
            f"{CAPABILITY}:yang-library:1.1?revision=2019-01-04&content-id={name}",
        }


@pytest.mark.clause("R-59610")
class TestSchemas:
    """get-schema gives each module that is told, and together they compile (RFC 6022, 3.1)."""

    def test_the_set_compiles_as_a_whole(self, client, tmp_path):
        select = f'<filter><netconf-state xmlns="{NM}"><schemas/></netconf-state></filter>'
        files = []
        for schema in client.get(filter=select).data_ele.iter(f"{{{NM}}}schema"):
            name, version = (schema.findtext(f"{{{NM}}}{leaf}") for leaf in ("identifier", "version"))
            files.append(tmp_path / f"{name}@{version}.yang")
            files[-1].write_text(schema_of(client, name, version))

        # These take pyang's own copies from its path: it finds nothing but the set.
        nowhere = {"HOME": str(tmp_path), "YANG_INSTALL": str(tmp_path), "YANG_MODPATH": ""}
        command = [sys.executable, "-m", "pyang", "--strict", "--path", str(tmp_path), *map(str, files)]
        ran = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **nowhere})

        assert (ran.returncode, ran.stdout + ran.stderr) == (0, "")

    def test_a_module_of_the_compiler_is_none(self, model):
        assert model.schema_text("yang", "", yin=False) is None


def schema_of(client, name, version):
    asked = f'<get-schema xmlns="{NM}"><identifier>{name}</identifier><version>{version}</version></get-schema>'
    return etree.fromstring(client.dispatch(asked).xml).findtext(f"{{{NM}}}data")
