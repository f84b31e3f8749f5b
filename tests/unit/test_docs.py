"""Documents that name what there is: links lead somewhere, settings are the code's, containers are set up by them."""

import dataclasses
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from common.values import config
from tests.conformance.broken import FAULTS
from tests.support import settings_table

ROOT = Path(__file__).parent.parent.parent
COMPOSE = ROOT / "compose" / "compose.yaml"
PAGES = sorted(
    page
    for pattern in ("*.md", "docs/**/*.md", "compose/*.md", "bench/*.md", "tests/*.md")
    for page in ROOT.glob(pattern)
)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
VARIABLES = {config.variable(spec.name) for kind in settings_table.TITLES for spec in dataclasses.fields(kind)}


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as code forges make them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path, text: str) -> list[str]:
    """The relative links of `text`, read as `page`, that lead nowhere."""
    broken = []
    for link in LINK.findall(text):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if "://" in link:
            continue
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            broken.append(link)
    return broken


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link, and its anchor, is there."""
    assert broken_links(page, page.read_text()) == []


def test_a_broken_link_is_found() -> None:
    """The check itself can fail."""
    page = ROOT / "README.md"
    text = "[a](docs/nowhere.md) [b](README.md#nowhere) [c](#nowhere) [d](LICENSE) [e](https://example.com/x)"
    assert broken_links(page, text) == ["docs/nowhere.md", "README.md#nowhere", "#nowhere"]


def test_the_number_of_conformance_cases_is_what_is_collected() -> None:
    """Pages that give it give the right one, and one at least does; so it is with the broken backends."""
    command = [sys.executable, "-m", "pytest", "--pyargs", "writebuffer.conformance", "--write-buffer", "memory:"]
    collected = subprocess.run(
        [*command, "--collect-only", "-q", "-p", "no:cacheprovider"], capture_output=True, text=True, check=True
    ).stdout
    cases, broken = collected.count("::test_"), len(FAULTS)
    stated = {
        (page.name, said)
        for page in PAGES
        if page.name != "CHANGELOG.md"
        for said in re.findall(r"\d+ (?:conformance )?cases|\d+ deliberately broken", page.read_text())
    }
    assert stated
    assert {said for _, said in stated} <= {
        f"{cases} cases",
        f"{cases} conformance cases",
        f"{broken} deliberately broken",
    }


def test_the_documented_settings_are_those_of_the_code() -> None:
    """docs/operations.md shows every setting with variable, default and meaning; the module named there renews it."""
    text = settings_table.PAGE.read_text()
    assert text == settings_table.page_with(text, settings_table.tables())


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    services: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())["services"]
    return services


def test_containers_are_set_up_by_settings_that_exist(services: dict[str, Any]) -> None:
    """Every PENSTOCK_ variable of the compose file is a setting, and its value one that the setting takes."""
    for service in services.values():
        environ = {name: str(value) for name, value in service["environment"].items()}
        assert set(environ) <= VARIABLES
        for kind in settings_table.TITLES:
            config.resolve(kind, {}, {}, environ)


def test_the_compose_file_runs_one_ingester_for_each_sequencer(services: dict[str, Any]) -> None:
    """Each follows its own sequencer, is reached by its service's name, and is probed at its own port."""
    ingesters = dict(services)
    router = ingesters.pop("router")
    sequencers = int(router["environment"]["PENSTOCK_SEQUENCERS"])
    assert list(ingesters) == [f"ingester-{sequencer}" for sequencer in range(sequencers)]
    for sequencer, (name, ingester) in enumerate(ingesters.items()):
        settings = config.resolve(config.IngesterConfig, {}, {}, ingester["environment"])
        assert ingester["command"] == f"ingester --sequencer {sequencer}"
        assert settings.advertise_host == name
        assert f":{settings.http_port + sequencer}/" in ingester["healthcheck"]["test"][-1]


def test_the_compose_file_is_for_both_composes() -> None:
    """docker-compose 1.29.2 knows neither a top-level name nor other newer keys; v2 warns of a version."""
    top = {key for key in yaml.safe_load(COMPOSE.read_text()) if not key.startswith("x-")}
    assert top == {"services", "volumes"}


def test_every_process_has_an_init_and_a_healthcheck(services: dict[str, Any]) -> None:
    """Without an init a stop takes the whole grace period; without a healthcheck nobody waits for anybody."""
    for service in services.values():
        assert service["init"] is True
        assert service["healthcheck"]["test"]


def test_the_image_is_built_from_files_that_exist() -> None:
    """What the Dockerfile copies is there and is not held back by .dockerignore."""
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = re.findall(r"^COPY (.*) \S+$", (ROOT / "compose" / "Dockerfile").read_text(), re.MULTILINE)
    for name in " ".join(copied).split():
        assert (ROOT / name).exists()
        assert name in allowed


def test_constraints_are_plain_pins() -> None:
    """One name==version for each line, each once: what a machine installs is what was tested."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    names = [re.fullmatch(r"([A-Za-z0-9._-]+)==[A-Za-z0-9.]+", line) for line in lines]
    assert all(names), [line for line, name in zip(lines, names, strict=True) if not name]
    assert len({line.split("==")[0].lower() for line in lines}) == len(lines)
