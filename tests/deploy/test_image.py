"""The Dockerfile by what it says, and by following it as far as that goes without Docker."""

import json
import re
import subprocess
from importlib.metadata import distributions
from pathlib import Path

import pytest

from tests.deploy.conftest import Image
from tests.deploy.dockerfile import instructions
from tests.deploy.papers import BASE as KUSTOMIZE
from tests.deploy.papers import DEPLOY, KNOWN, ROOT, compose, manifests, of_kind, project

STEPS = instructions(DEPLOY / "Dockerfile")
LAST = max(step.stage for step in STEPS)
EXTRAS = ("cli", "worker", "api")


def texts(word: str, *, stage: int | None = None) -> list[str]:
    return [step.text for step in STEPS if step.word == word and stage in (None, step.stage)]


def pins(path: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", path.read_text(), re.MULTILINE))


def names(path: Path) -> set[str]:
    return {line for line in path.read_text().splitlines() if line and not line.startswith(("#", "-"))}


def wanted(extras: tuple[str, ...]) -> set[str]:
    """The names of what the package needs with these extras."""
    found = project()
    lines = [*found["dependencies"], *(line for extra in extras for line in found["optional-dependencies"][extra])]
    return {match[0] for line in lines if (match := re.match(r"[a-z-]+", line))} - {found["name"]}


def test_both_stages_are_the_same_pinned_slim_python() -> None:
    images = {text.split(" AS ")[0] for text in texts("FROM")}
    (image,) = images
    match = re.fullmatch(r"python:(\d+\.\d+)\.\d+-slim-[a-z]+", image)
    assert match
    assert f"Programming Language :: Python :: {match[1]}" in project()["classifiers"]


def test_it_runs_as_a_user_with_a_number_and_in_exec_form() -> None:
    (user,) = texts("USER", stage=LAST)
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    assert [json.loads(text) for text in texts("ENTRYPOINT")] == [["dispatcher"]]
    assert [json.loads(text) for text in texts("CMD")] == [["--help"]]
    assert texts("STOPSIGNAL") == ["SIGTERM"]


def test_nothing_runs_or_is_fetched_in_the_last_stage() -> None:
    words = {step.word for step in STEPS}
    assert not words & {"ADD", "HEALTHCHECK", "ONBUILD", "SHELL", "VOLUME"}
    assert texts("RUN", stage=LAST) == []
    assert texts("COPY", stage=LAST) == ["--from=build /opt/dispatcher /opt/dispatcher"]


def test_there_is_no_secret_and_no_setting_in_it() -> None:
    given = " ".join(texts("ENV") + texts("ARG"))
    assert not re.search(r"token|secret|password|redis", given, re.IGNORECASE)
    assert not any(name in given for name in KNOWN)


def test_all_that_is_installed_is_known_by_its_hash() -> None:
    installs = [part for text in texts("RUN") for part in text.split("&&") if " install " in part]
    assert len(installs) == 3
    assert all("--require-hashes" in part or "--no-deps --no-index" in part for part in installs)


def test_the_context_is_what_is_copied() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    copied = {source for text in texts("COPY", stage=0) for source in text.split()[:-1]}
    assert lines[0] == "*"
    assert {line.removeprefix("!") for line in lines if line.startswith("!")} == copied
    assert {"**/__pycache__", "**/*.pyc"} < set(lines)


def test_every_place_names_the_version_of_the_package() -> None:
    version = project()["version"]
    assert f'org.opencontainers.image.version="{version}"' in texts("LABEL")[0]
    in_compose = {one["image"] for one in compose()["services"].values() if "build" in one}
    deployments = of_kind("Deployment", manifests(KUSTOMIZE)).values()
    in_base = {one["image"] for it in deployments for one in it["spec"]["template"]["spec"]["containers"]}
    assert in_compose == in_base == {f"whatsapp-dispatcher:{version}"}


def test_the_image_has_the_extras_of_its_commands() -> None:
    assert names(ROOT / "requirements" / "deploy.in") == wanted(EXTRAS)


@pytest.mark.parametrize("name", ["deploy", "deploy.build"])
def test_its_versions_are_those_that_are_tested(name: str) -> None:
    found = pins(ROOT / "requirements" / f"{name}.txt")
    assert found
    assert found.items() <= pins(ROOT / "requirements" / "demo.txt").items()


def test_the_first_stage_makes_a_command_that_runs(image: Image) -> None:
    done = subprocess.run([image.commands / "dispatcher", "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"dispatcher {project()['version']}\n")


def test_nothing_else_is_installed(image: Image) -> None:
    (packages,) = image.folder.glob("lib/python*/site-packages")
    found = {
        distribution.metadata["Name"].lower().replace("_", "-") for distribution in distributions(path=[str(packages)])
    }
    assert "whatsapp-dispatcher" in found
    assert found - {"whatsapp-dispatcher"} <= set(pins(ROOT / "requirements" / "deploy.txt"))
