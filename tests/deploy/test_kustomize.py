"""The Kustomize base and the example overlay: by Kubernetes' schemas, and by what they must mean."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from dispatcher.api.run import HEALTH, STOP_LIMIT_S, WEBHOOKS
from dispatcher.settings import PREFIX, NumbersFile
from tests.deploy.papers import (
    BASE,
    DEPLOY,
    HIDDEN,
    KNOWN,
    OVERLAY,
    SECRETS,
    Manifest,
    Workload,
    env_file,
    injected,
    kustomization,
    manifests,
    of_kind,
    ports_of,
    settings,
    workloads,
)

VERSIONS = ("1.31", "1.37")
ALL = manifests(BASE)
PODS = workloads()
SERVICES = of_kind("Service", ALL)
GENERATED = {"whatsapp-settings", "whatsapp-numbers"}
"""ConfigMaps that the kustomization makes."""
SECRET_KEYS = {
    "whatsapp-redis": {"redis-url"},
    "whatsapp-app": {"app-secrets", "webhook-verify-token"},
    "whatsapp-tokens": {"*"},
}


def validated(files: list[Path], version: str) -> None:
    command = [sys.executable, "-m", "kubernetes_validate", "--strict", "-k", version, *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "WARN" not in said  # an object whose schema it does not know


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_follows_the_schemas_of_kubernetes(version: str) -> None:
    named = [folder / name for folder in (BASE, OVERLAY) for name in kustomization(folder)["resources"]]
    validated([path for path in named if path.is_file()], version)


def test_the_base_has_what_is_promised_and_nothing_more() -> None:
    assert sorted((found["kind"], found["metadata"]["name"]) for found in ALL) == [
        ("Deployment", "whatsapp-api"),
        ("Deployment", "whatsapp-exporter"),
        ("Deployment", "whatsapp-worker"),
        ("PodDisruptionBudget", "whatsapp-api"),
        ("PodDisruptionBudget", "whatsapp-worker"),
        ("Service", "whatsapp-api"),
        ("Service", "whatsapp-metrics"),
    ]
    assert not [found["metadata"]["name"] for found in ALL if "namespace" in found["metadata"]]
    files = {path.name for path in BASE.iterdir()} - {"kustomization.yaml", "settings.env", "numbers.example.toml"}
    assert files == set(kustomization(BASE)["resources"])


def test_a_change_of_settings_starts_new_pods_and_one_of_numbers_does_not() -> None:
    assert kustomization(BASE)["configMapGenerator"] == [
        {"name": "whatsapp-settings", "envs": ["settings.env"]},
        {
            "name": "whatsapp-numbers",
            "files": ["numbers.toml=numbers.example.toml"],
            "options": {"disableNameSuffixHash": True},
        },
    ]


@pytest.mark.parametrize("pod", PODS.values(), ids=PODS)
def test_each_pod_is_locked_down(pod: Workload) -> None:
    assert pod.pod["enableServiceLinks"] is False
    assert pod.pod["automountServiceAccountToken"] is False
    assert pod.pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "runAsGroup": 10001,
        "fsGroup": 10001,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert pod.container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"cpu", "memory"} == set(pod.container["resources"]["requests"])
    assert {"memory"} == set(pod.container["resources"]["limits"])
    assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & set(pod.pod)


@pytest.mark.parametrize("pod", PODS.values(), ids=PODS)
def test_its_settings_exist_and_its_secrets_are_files(pod: Workload) -> None:
    assert pod.container["envFrom"] == [{"configMapRef": {"name": "whatsapp-settings"}}]
    assert all(set(one) == {"name", "value"} for one in pod.container.get("env", []))
    given = pod.environment
    assert set(given) <= KNOWN - HIDDEN
    named = {Path(value) for name, value in given.items() if name.endswith("_FILE")}
    assert all(path in pod.files() or path.parent / "*" in pod.files() for path in named)


def test_secrets_and_their_keys_are_those_of_the_readme() -> None:
    found: dict[str, set[str]] = {}
    for pod in PODS.values():
        for name, key in pod.files().values():
            found.setdefault(name, set()).add(key)
    assert {name: keys for name, keys in found.items() if name not in GENERATED} == SECRET_KEYS
    readme = (DEPLOY / "README.md").read_text()
    assert all(name in readme for name in SECRET_KEYS)
    who = {name: {secret for secret, _ in pod.files().values()} - GENERATED for name, pod in PODS.items()}
    assert who == {
        "whatsapp-worker": {"whatsapp-redis", "whatsapp-tokens"},
        "whatsapp-api": {"whatsapp-redis", "whatsapp-app"},
        "whatsapp-exporter": {"whatsapp-redis"},
    }


@pytest.mark.parametrize("folder", [BASE, OVERLAY], ids=["base", "overlay"])
def test_tokens_are_looked_for_where_they_are(folder: Path, tmp_path: Path) -> None:
    text = (folder / "numbers.example.toml").read_text()
    places = re.findall(r'file = "([^"]+)"', text)
    assert {Path(place).parent for place in places} == {SECRETS}
    assert PODS["whatsapp-worker"].files()[SECRETS / "*"] == ("whatsapp-tokens", "*")
    path = tmp_path / "numbers.toml"
    path.write_text(text)
    assert len(NumbersFile.load(path, with_tokens=False).numbers) == len(places)


def test_a_worker_is_not_killed_before_it_has_ended() -> None:
    pod = PODS["whatsapp-worker"]
    given = {name: value for name, value in pod.environment.items() if name != f"{PREFIX}REDIS_URL_FILE"}
    assert pod.pod["terminationGracePeriodSeconds"] > settings(given).stop_limit_s


def test_the_api_goes_on_until_nothing_is_sent_to_it_and_is_not_killed_before_it_has_ended() -> None:
    pod = PODS["whatsapp-api"]
    (command, pause_s) = pod.container["lifecycle"]["preStop"]["exec"]["command"]
    assert command == "sleep"
    assert pod.pod["terminationGracePeriodSeconds"] > int(pause_s) + STOP_LIMIT_S


def test_ports_are_those_of_the_settings() -> None:
    for pod in PODS.values():
        expected = {"metrics": int(pod.environment[f"{PREFIX}METRICS_PORT"])}
        if pod.name == "whatsapp-api":
            expected["http"] = int(pod.environment[f"{PREFIX}API_PORT"])
            assert pod.environment[f"{PREFIX}API_HOST"] == "0.0.0.0"
        assert pod.ports == expected


def test_probes_ask_what_is_there() -> None:
    """That they are answered is in test_processes."""
    asked = {
        (pod.name, name, probe["httpGet"]["path"], probe["httpGet"]["port"])
        for pod in PODS.values()
        for name, probe in pod.probes.items()
        if "httpGet" in probe
    }
    kinds = ("startupProbe", "livenessProbe", "readinessProbe")
    assert asked == {
        *((name, kind, "/metrics", "metrics") for name in ("whatsapp-worker", "whatsapp-exporter") for kind in kinds),
        ("whatsapp-api", "startupProbe", HEALTH, "http"),
    }
    assert all(set(pod.probes) == set(kinds) for pod in PODS.values())


def test_the_api_stays_in_its_service_while_redis_is_away() -> None:
    """Else POSTs are turned away before the door, which then does not know that it has missed something."""
    probes = PODS["whatsapp-api"].probes
    assert probes["readinessProbe"]["tcpSocket"] == {"port": "http"}
    assert "httpGet" not in probes["livenessProbe"]


@pytest.mark.parametrize("name", SERVICES)
def test_no_service_can_be_taken_for_a_setting(name: str) -> None:
    """Not even in pods of others that have service links, with the names of the dispatcher's own settings."""
    variables = injected(name, ports_of(SERVICES[name]))
    assert not [variable for variable in variables if variable.startswith(PREFIX)]


def test_services_lead_to_ports_of_our_pods() -> None:
    for service in SERVICES.values():
        selector = service["spec"]["selector"].items()
        chosen = [pod for pod in PODS.values() if selector <= pod.labels.items()]
        assert chosen
        for port in service["spec"]["ports"]:
            assert all(pod.ports[port["targetPort"]] == port["port"] for pod in chosen)
    metrics = SERVICES["whatsapp-metrics"]["spec"]
    assert all(metrics["selector"].items() <= pod.labels.items() for pod in PODS.values())


def test_disruptions_and_spread_are_of_the_pods_they_are_named_after() -> None:
    budgets = of_kind("PodDisruptionBudget", ALL)
    deployments = of_kind("Deployment", ALL)
    for name, budget in budgets.items():
        assert budget["spec"] == {"maxUnavailable": 1, "selector": {"matchLabels": PODS[name].labels}}
        assert deployments[name]["spec"]["replicas"] > 1
        (spread,) = PODS[name].pod["topologySpreadConstraints"]
        assert spread["labelSelector"]["matchLabels"] == PODS[name].labels
    for name, deployment in deployments.items():
        assert deployment["spec"]["selector"]["matchLabels"] == PODS[name].labels


def test_the_way_in_of_the_example_leads_to_the_api() -> None:
    (ingress,) = manifests(OVERLAY)
    (rule,) = ingress["spec"]["rules"]
    paths = {one["path"]: one["backend"]["service"] for one in rule["http"]["paths"]}
    assert set(paths) == {"/webhooks/", HEALTH}
    assert WEBHOOKS.startswith("/webhooks/")
    for service in paths.values():
        assert service["port"]["name"] in ports_of(SERVICES[service["name"]])
    assert ingress["spec"]["tls"][0]["hosts"] == [rule["host"]]


def rendered(folder: Path) -> list[Manifest]:
    """What `kubectl apply -k` would apply; no cluster is asked."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("there is no kubectl to render with")
    environ = os.environ | {"KUBECONFIG": os.devnull}
    done = subprocess.run([kubectl, "kustomize", str(folder)], capture_output=True, text=True, check=False, env=environ)
    assert (done.returncode, done.stderr) == (0, "")
    return list(yaml.safe_load_all(done.stdout))


@pytest.mark.parametrize("folder", [BASE, OVERLAY], ids=["base", "overlay"])
def test_what_is_rendered_fits_together(folder: Path, tmp_path: Path) -> None:
    found = rendered(folder)
    configs = of_kind("ConfigMap", found)
    path = tmp_path / "all.yaml"
    path.write_text(yaml.safe_dump_all(found))
    for version in VERSIONS:
        validated([path], version)
    pods = {name: it["spec"]["template"]["spec"] for name, it in of_kind("Deployment", found).items()}
    for pod in pods.values():
        (container,) = pod["containers"]
        assert container["envFrom"][0]["configMapRef"]["name"] in configs
        assert pod["enableServiceLinks"] is False
    assert "whatsapp-numbers" in configs
    assert {one["metadata"].get("namespace") for one in found} == ({"whatsapp"} if folder == OVERLAY else {None})
    (given,) = (config["data"] for name, config in configs.items() if name.startswith("whatsapp-settings-"))
    assert set(given) == set(env_file(BASE / "settings.env"))
    given.pop(f"{PREFIX}REDIS_URL_FILE")
    limit_s = settings(given).stop_limit_s
    assert pods["whatsapp-worker"]["terminationGracePeriodSeconds"] > limit_s
    assert tuple(configs["whatsapp-numbers"]["data"]) == ("numbers.toml",)
