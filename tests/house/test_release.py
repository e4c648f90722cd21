"""What has to agree at a release: version, changelog, citation."""

import re

import yaml

from tests.conftest import ROOT
from uel import __version__

CHANGE_TYPES = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_changelog_is_kept_in_its_form():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    releases = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert releases[0] == "[Unreleased]"
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", release) for release in releases[1:])
    unreleased = text.split("## [Unreleased]")[1].split("\n## [")[0]
    assert set(re.findall(r"^### (.*)$", unreleased, re.MULTILINE)) <= CHANGE_TYPES


def test_version_changelog_and_citation_agree():
    version, date = re.findall(
        r"^## \[(\d+\.\d+\.\d+)\] - (\S+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE
    )[0]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (version, date) == (citation["version"], str(citation["date-released"]))
    assert version == __version__
    assert {"cff-version", "message", "title", "authors", "license"} <= set(citation)
