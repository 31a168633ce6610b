"""The AsyncAPI document by the parser of AsyncAPI's own project (npm), which finds what is broken on purpose."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from history.asyncapi import document
from tests.test_house import ROOT

pytestmark = pytest.mark.timeout(1800)  # npm gets 55 MB, and the parser begins slowly
HERE = Path(__file__).parent / "asyncapi"
CACHE = Path(os.environ.get("SNF_VALIDATORS", "/var/cache/snf-validators"))


@pytest.fixture(scope="module")
def parse(tmp_path_factory):
    """Return a parser of several documents at once: it takes long to begin."""
    if not shutil.which("npm"):
        subprocess.run([ROOT / "scripts" / "setup", "--apt-only", "nodejs", "npm"], check=True)
    pins = (HERE / "package.json").read_bytes()
    folder = CACHE / f"asyncapi-{hashlib.sha256(pins).hexdigest()[:12]}"
    if not (folder / ".ready").exists():
        shutil.rmtree(folder, ignore_errors=True)  # of an installation that did not end
        folder.mkdir(parents=True)
        (folder / "package.json").write_bytes(pins)
        subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--silent"], cwd=folder, check=True)
        (folder / ".ready").touch()

    def said(*documents):
        paths = [tmp_path_factory.mktemp("asyncapi") / "x.json" for _ in documents]
        for path, each in zip(paths, documents, strict=True):
            path.write_text(json.dumps(each))
        run = ["node", HERE / "parse.mjs", *paths]
        return json.loads(subprocess.run(run, cwd=folder, check=True, capture_output=True).stdout)

    return said


def broken(path, value=...):
    """Return the document with one node changed, or left out."""
    whole = copy.deepcopy(document())
    *way, last = path.split(" ")
    node = whole
    for step in way:
        node = node[step]
    if value is ...:
        del node[last]
    else:
        node[last] = value
    return whole


BREAKS = {
    "operations publish_health action": "publish",
    "asyncapi": "4.0.0",
    "info title": ...,
    "channels records messages records": {"$ref": "#/components/messages/nothing"},
    "channels records parameters class": {"enum": "video"},
    "channels health servers": [{"$ref": "#/servers/nowhere"}],
    "servers bus protocol": ...,
    "components securitySchemes curve type": "magic",
    "components messages health payload type": "maybe",
}


@pytest.fixture(scope="module")
def verdicts(parse):
    return parse(document(), *(broken(path, value) for path, value in BREAKS.items()))


class TestParser:
    """It takes the document as it is, and refuses it broken."""

    def test_it_takes_the_document(self, verdicts):
        assert verdicts[0]["errors"] == []
        assert {*verdicts[0]["channels"]} == {channel["address"] for channel in document()["channels"].values()}
        assert {*verdicts[0]["operations"]} == {"send", "receive"}

    @pytest.mark.parametrize("number", range(1, len(BREAKS) + 1), ids=list(BREAKS))
    def test_it_refuses_what_is_broken(self, verdicts, number):
        assert verdicts[number]["errors"] != []
