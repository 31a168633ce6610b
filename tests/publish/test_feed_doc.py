"""docs/feed.md is the contract with third parties: its consumer runs, and it names all that is published."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from feed.records import APP_CLASSES, HEALTH_COLUMNS
from feed.wire import ENCODING, SCHEMAS
from nf.publish import Publisher
from tests.feed.samples import batch, eventually

DOCUMENT = (Path(__file__).parents[2] / "docs" / "feed.md").read_text(encoding="utf-8")


class TestConsumer:
    """The program in the document reads the feed with no code of ours."""

    def test_it_prints_the_score_of_every_record(self, start: Callable[..., Publisher], tmp_path: Path) -> None:
        program, _ = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
        script = tmp_path / "consumer.py"
        script.write_text(program)
        publisher, sent = start(), batch(20)

        with subprocess.Popen(
            [sys.executable, "-I", str(script), publisher.endpoint], stdout=subprocess.PIPE, text=True, cwd=tmp_path
        ) as consumer:
            try:
                assert eventually(lambda: publisher.subscriptions == 1, 20)
                publisher.publish(sent)
                assert consumer.stdout is not None
                lines = [consumer.stdout.readline().split() for _ in range(20)]
            finally:
                consumer.kill()

        expected = zip(*(sent.columns[n] for n in ("subscriber", "app", "mos")), strict=True)
        for (topic, who, app, mos), (subscriber, name, score) in zip(lines, expected, strict=True):
            assert (topic, who, app) == ("qoe.v1/nf1/video/", subscriber, name)
            assert float(mos) == pytest.approx(score, abs=0.0051, nan_ok=True)


class TestCompleteness:
    """A name that goes over the bus stands in the document."""

    @pytest.mark.parametrize("name", [*HEALTH_COLUMNS, *sorted(SCHEMAS), *APP_CLASSES, ENCODING])
    def test_it_is_documented(self, name: str) -> None:
        assert f"`{name}" in DOCUMENT
