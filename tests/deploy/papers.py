"""Reads what is in deploy/, and says what its texts mean: durations, sizes, Kubernetes' injected variables."""

import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import yaml

from dispatcher.settings import PREFIX, Settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
BASE = DEPLOY / "kustomize" / "base"
OVERLAY = DEPLOY / "kustomize" / "overlays" / "example"
SECRETS = Path("/run/secrets")
KNOWN = frozenset(PREFIX + name.upper() for name in Settings.model_fields)
"""Every variable that is a setting."""
HIDDEN = frozenset(
    PREFIX + name for name in ("REDIS_URL", "APP_SECRETS", "WEBHOOK_VERIFY_TOKEN", "WEBHOOK_FORWARD_URLS")
)
"""Settings that are secrets themselves."""
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
_BYTES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}

Manifest = dict[str, Any]


def project() -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return found


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return found


def manifests(folder: Path) -> list[Manifest]:
    """All objects of the files that a kustomization names."""
    named = [name for name in kustomization(folder)["resources"] if (folder / name).is_file()]
    return [found for name in named for found in yaml.safe_load_all((folder / name).read_text())]


def kustomization(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((folder / "kustomization.yaml").read_text())
    return found


def of_kind(kind: str, among: Iterable[Manifest]) -> dict[str, Manifest]:
    return {found["metadata"]["name"]: found for found in among if found["kind"] == kind}


def env_file(path: Path) -> dict[str, str]:
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def settings(given: Mapping[str, str]) -> Settings:
    """The settings of a process with these variables."""
    with mock.patch.dict(os.environ, given):
        return Settings()


def seconds(text: str) -> float:
    parts = re.findall(r"(\d+)(ms|s|m|h)", text)
    assert "".join(map("".join, parts)) == text, f"{text!r} is no duration"
    return sum(int(count) * _SECONDS[unit] for count, unit in parts)


def size(text: str) -> int:
    """Bytes, as Compose, Valkey and Caddy (MiB) write them."""
    match = re.fullmatch(r"(\d+)([kmg]?)(?:i?b)?", text.lower())
    assert match, f"{text!r} is no size"
    return int(match[1]) * _BYTES[match[2]]


@dataclass(frozen=True)
class Workload:
    """The one container of a Deployment, and the pod around it."""

    name: str
    pod: Manifest
    labels: dict[str, str]

    @property
    def container(self) -> Manifest:
        (found,) = self.pod["containers"]
        return dict(found)

    @property
    def environment(self) -> dict[str, str]:
        """What the pod gives, the generated settings too."""
        return env_file(BASE / "settings.env") | {one["name"]: one["value"] for one in self.container.get("env", [])}

    @property
    def ports(self) -> dict[str, int]:
        return {port["name"]: port["containerPort"] for port in self.container["ports"]}

    @property
    def probes(self) -> dict[str, Manifest]:
        return {name: found for name, found in self.container.items() if name.endswith("Probe")}

    def files(self) -> dict[Path, tuple[str, str]]:
        """Which file comes from which object and key; a key `*` is all of them."""
        mounts = {mount["name"]: Path(mount["mountPath"]) for mount in self.container["volumeMounts"]}
        assert all(mount["readOnly"] for mount in self.container["volumeMounts"])
        found: dict[Path, tuple[str, str]] = {}
        for volume in self.pod["volumes"]:
            where = mounts[volume["name"]]
            for source in volume.get("projected", {}).get("sources", [volume]):
                found |= {where / path: of for path, of in _of_source(source)}
        return found


def _of_source(source: Manifest) -> Iterator[tuple[str, tuple[str, str]]]:
    given = source.get("secret") or source["configMap"]
    for item in given.get("items", [{"key": "*", "path": "*"}]):
        yield item["path"], (given["name"], item["key"])


def workloads() -> dict[str, Workload]:
    found = of_kind("Deployment", manifests(BASE))
    return {
        name: Workload(name, it["spec"]["template"]["spec"], it["spec"]["template"]["metadata"]["labels"])
        for name, it in found.items()
    }


def injected(service: str, ports: Mapping[str, int], address: str = "10.96.0.17") -> dict[str, str]:
    """What the kubelet puts into pods for a Service (pkg/kubelet/envvars, makeEnvVariableName and below)."""
    name = service.upper().replace("-", "_")
    first = next(iter(ports.values()))
    found = {
        f"{name}_SERVICE_HOST": address,
        f"{name}_SERVICE_PORT": str(first),
        f"{name}_PORT": f"tcp://{address}:{first}",
    }
    for port_name, port in ports.items():
        link = f"{name}_PORT_{port}_TCP"
        found |= {
            f"{name}_SERVICE_PORT_{port_name.upper().replace('-', '_')}": str(port),
            link: f"tcp://{address}:{port}",
            f"{link}_PROTO": "tcp",
            f"{link}_PORT": str(port),
            f"{link}_ADDR": address,
        }
    return found


def ports_of(service: Manifest) -> dict[str, int]:
    return {port["name"]: port["port"] for port in service["spec"]["ports"]}
