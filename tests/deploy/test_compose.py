"""The compose file: by the specification's schema, and by what it must mean."""

import re
import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from redis.asyncio import Redis

from dispatcher.api.run import HEALTH, STOP_LIMIT_S, WEBHOOKS
from dispatcher.api.webhook_endpoint import BODY_BYTES_MAX
from dispatcher.settings import NumbersFile
from dispatcher.store import health
from dispatcher.store.pipeline import Pipeline
from tests.deploy.papers import DEPLOY, HIDDEN, KNOWN, ROOT, SECRETS, compose, env_file, seconds, settings, size
from tests.servers import OwnServer

FILE = DEPLOY / "compose.yaml"
COMPOSE = compose()
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = ("worker", "api", "exporter")
MADE_BY_PREPARE = ("numbers", "secrets")
PROXY = (DEPLOY / "Caddyfile").read_text()


def filled(text: object) -> str:
    """Put in what the example of .env says."""
    given = env_file(DEPLOY / "env.example")
    return re.sub(r"\$\{(\w+)[^}]*\}", lambda match: given[match[1]], str(text))


def environment(service: str) -> dict[str, str]:
    return {name: filled(value) for name, value in SERVICES[service].get("environment", {}).items()}


def within(folder: Path, given: Mapping[str, str]) -> dict[str, str]:
    """Name the files where `prepare` has made them, not where the container sees them."""
    places = {str(SECRETS): str(folder / "secrets"), "/etc/dispatcher": str(folder / "numbers")}
    found = dict(given)
    for inside, outside in places.items():
        found = {name: re.sub(f"^{inside}", outside, value) for name, value in found.items()}
    return found


def mounts(service: str) -> dict[str, str]:
    """Target to source."""
    return {volume.split(":")[1]: volume.split(":")[0] for volume in SERVICES[service].get("volumes", [])}


def valkey() -> dict[str, str]:
    lines = [line for line in (DEPLOY / "valkey.conf").read_text().splitlines() if line and not line.startswith("#")]
    return {name: "" if value == '""' else value for name, value in (line.split(" ", 1) for line in lines)}


def test_it_follows_the_specification() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(FILE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


def test_the_services_are_those_that_are_promised() -> None:
    assert set(SERVICES) == {"redis", *OURS, "proxy", "prometheus", "grafana"}
    assert [SERVICES[name]["command"] for name in OURS] == [["worker"], ["api"], ["exporter"]]


@pytest.mark.parametrize("name", SERVICES)
def test_each_is_pinned_and_locked_down(name: str) -> None:
    service = SERVICES[name]
    assert re.fullmatch(r"[a-z/-]+:v?\d+\.\d+\.\d+", service["image"])
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service.get("cap_add", []) == (["NET_BIND_SERVICE"] if name == "proxy" else [])
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert "network_mode" not in service
    assert service["restart"] == "unless-stopped"
    assert size(service["mem_limit"]) > 0


def test_the_variables_of_the_example_are_those_that_are_filled_in() -> None:
    assert set(re.findall(r"\$\{(\w+)", FILE.read_text())) == set(env_file(DEPLOY / "env.example"))


@pytest.mark.parametrize("name", OURS)
def test_its_settings_exist_and_are_in_order(name: str, prepared: Path) -> None:
    given = environment(name)
    assert set(given) <= KNOWN
    if name == "api":
        (prepared / "secrets" / "app-secrets").write_text("an-app-secret")
    found = settings(within(prepared, given))
    assert found.redis_address == "redis://redis:6379/0"
    assert found.metrics_port == 9464


def test_all_processes_of_the_cell_agree() -> None:
    shared = {"DISPATCHER_CELL", "DISPATCHER_REDIS_URL_FILE", "DISPATCHER_METRICS_PORT", "DISPATCHER_LOG_LEVEL"}
    assert shared == set(environment("exporter"))
    assert all(environment("exporter").items() <= environment(name).items() for name in OURS)


@pytest.mark.parametrize("name", SERVICES)
def test_no_secret_is_in_the_environment(name: str) -> None:
    given = environment(name)
    files = {variable: value for variable, value in given.items() if re.search(r"_{1,2}FILE$", variable)}
    assert not set(given) & HIDDEN
    assert not [one for one in given if re.search("PASSWORD|SECRET|TOKEN|REDIS_URL", one) and one not in files]
    granted = {str(SECRETS / secret) for secret in SERVICES[name].get("secrets", [])}
    assert {value for value in files.values() if value.startswith(str(SECRETS))} <= granted


def test_secrets_are_files_and_only_those_have_one_who_need_it() -> None:
    assert COMPOSE["secrets"] == {name: {"file": f"./secrets/{name}"} for name in COMPOSE["secrets"]}
    assert {name: service["secrets"] for name, service in SERVICES.items() if "secrets" in service} == {
        "redis": ["redis-auth"],
        "worker": ["redis-url", "whatsapp-token"],
        "api": ["redis-url", "app-secrets", "webhook-verify-token"],
        "exporter": ["redis-url"],
        "grafana": ["grafana-password"],
    }


def test_prepare_makes_every_secret_once_and_for_the_containers_to_read(prepared: Path) -> None:
    secrets = prepared / "secrets"
    before = {path.name: path.read_text() for path in secrets.iterdir()}
    assert set(before) == set(COMPOSE["secrets"])
    assert {name for name, text in before.items() if not text} == {"app-secrets", "whatsapp-token"}
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in secrets.iterdir()} == {0o644}
    assert before["redis-auth"].split()[0] == "requirepass"
    assert before["redis-url"] == f"redis://:{before['redis-auth'].split()[1]}@redis:6379/0"
    done = subprocess.run([prepared / "prepare"], capture_output=True, text=True, check=True)
    assert {path.name: path.read_text() for path in secrets.iterdir()} == before
    assert [line for line in done.stdout.splitlines() if line.startswith("Fill")] == [
        "Fill: deploy/secrets/app-secrets",
        "Fill: deploy/secrets/whatsapp-token",
    ]


def test_what_prepare_makes_is_not_for_git() -> None:
    assert set((DEPLOY / ".gitignore").read_text().split()) == {".env", "numbers/", "secrets/"}


def test_the_numbers_file_finds_its_token(prepared: Path) -> None:
    path = prepared / "numbers" / "numbers.toml"
    assert environment("worker")["DISPATCHER_NUMBERS_FILE"] == "/etc/dispatcher/numbers.toml"
    assert mounts("worker") == {"/etc/dispatcher": "./numbers"}
    assert f'"{SECRETS}/whatsapp-token"' in path.read_text()
    (prepared / "secrets" / "whatsapp-token").write_text("EAAG")
    path.write_text(path.read_text().replace(str(SECRETS), str(prepared / "secrets")))
    assert [number.token.get_secret_value() for number in NumbersFile.load(path).numbers.values()] == ["EAAG"]


def test_nothing_is_killed_before_it_has_ended(prepared: Path) -> None:
    limit_s = settings(within(prepared, environment("worker"))).stop_limit_s
    assert seconds(SERVICES["worker"]["stop_grace_period"]) > limit_s
    assert seconds(SERVICES["api"]["stop_grace_period"]) > STOP_LIMIT_S


def test_redis_can_be_reached_by_our_processes_alone() -> None:
    networks = {name: set(service["networks"]) for name, service in SERVICES.items()}
    assert COMPOSE["networks"]["queue"] == {"internal": True}
    assert networks["redis"] == {"queue"}
    assert {name for name, of in networks.items() if "queue" in of} == {"redis", *OURS}
    assert {name for name, of in networks.items() if of & networks["proxy"]} == {"proxy", "api"}
    assert set(COMPOSE["networks"]) == set.union(*networks.values())


def test_only_the_proxy_is_open_to_the_world() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {
        "proxy": ["80:80", "443:443"],
        "prometheus": ["127.0.0.1:9090:9090"],
        "grafana": ["127.0.0.1:3000:3000"],
    }


def test_health_is_asked_where_it_is_answered() -> None:
    checks = {name: SERVICES[name]["healthcheck"]["test"] for name in OURS}
    urls = {name: re.findall(r"http://[^']+", test[-1]) for name, test in checks.items()}
    port, metrics = (environment("api")[f"DISPATCHER_{name}_PORT"] for name in ("API", "METRICS"))
    assert urls == {
        "worker": [f"http://127.0.0.1:{metrics}/metrics"],
        "api": [f"http://127.0.0.1:{port}{HEALTH}"],
        "exporter": [f"http://127.0.0.1:{metrics}/metrics"],
    }
    assert all(test[:3] == ["CMD", "python", "-c"] for test in checks.values())
    for test in checks.values():
        compile(test[3], "healthcheck", "exec")


def test_what_must_last_is_on_a_volume() -> None:
    assert valkey()["dir"] == "/data"
    assert mounts("redis")["/data"] == "redis-data"
    named = {source for name in SERVICES for source in mounts(name).values() if not source.startswith(".")}
    assert set(COMPOSE["volumes"]) == named


def test_what_is_mounted_exists() -> None:
    sources = [source for name in SERVICES for source in mounts(name).values() if source.startswith(".")]
    missing = [one for one in sources if not (DEPLOY / one).exists()]
    assert [one for one in missing if Path(one).name not in MADE_BY_PREPARE] == []


async def test_a_server_with_this_configuration_is_fit_and_says_so(own_server: OwnServer) -> None:
    """The embedded server, with all of the file but its places in the container."""
    options = {name: value for name, value in valkey().items() if name not in ("dir", "include")}
    assert valkey()["include"] == f"{SECRETS}/redis-auth"
    server = own_server(options=options)
    async with Redis.from_url(server.url, protocol=2) as redis:
        pipeline = Pipeline(redis)
        assert await pipeline.follow(health.check()) == []
        await pipeline.idle()
        found = {
            name: (await redis.config_get(name))[name] for name in ("appendfsync", "maxmemory-policy", "maxmemory")
        }
    assert found == {"appendfsync": "always", "maxmemory-policy": "noeviction", "maxmemory": str(1 << 30)}


def test_the_server_has_room_to_rewrite_its_file() -> None:
    assert size(SERVICES["redis"]["mem_limit"]) >= 2 * size(valkey()["maxmemory"])


def test_the_proxy_lets_webhooks_and_health_through_as_they_are() -> None:
    assert re.findall(r"^\t\thandle (\S+) \{", PROXY, re.MULTILINE) == ["@unsigned", "/webhooks/*", HEALTH]
    assert WEBHOOKS.startswith("/webhooks/")
    assert re.findall(r"max_size (\S+)", PROXY) == ["3MiB"]
    assert size("3MiB") == BODY_BYTES_MAX
    assert set(re.findall(r"reverse_proxy (\S+)", PROXY)) == {f"api:{environment('api')['DISPATCHER_API_PORT']}"}
    assert environment("api")["DISPATCHER_API_HOST"] == "0.0.0.0"
    assert "header X-Hub-Signature-256 sha256=*" in PROXY
    touching = {"encode", "request_buffers", "response_buffers", "rewrite", "uri", "header_up", "replace", "log"}
    assert not set(PROXY.split()) & touching


def test_prometheus_asks_every_process_of_ours() -> None:
    config = yaml.safe_load((DEPLOY / "prometheus.yaml").read_text())
    asked = {job["job_name"]: job["dns_sd_configs"] for job in config["scrape_configs"]}
    # the dashboards look for `dispatcher.*`
    assert set(asked) == {f"dispatcher-{name}" for name in OURS}
    for name in OURS:
        (found,) = asked[f"dispatcher-{name}"]
        assert (found["names"], found["type"]) == ([name], "A")
        assert str(found["port"]) == environment(name)["DISPATCHER_METRICS_PORT"]
        assert set(SERVICES[name]["networks"]) & set(SERVICES["prometheus"]["networks"])
    place = mounts("prometheus")
    assert config["rule_files"] == ["rules/*.yaml"]
    assert place["/etc/prometheus/rules"] == "../grafana/rules"
    assert place["/etc/prometheus/prometheus.yaml"] == "./prometheus.yaml"
    assert "--config.file=/etc/prometheus/prometheus.yaml" in SERVICES["prometheus"]["command"]


def test_grafana_finds_what_is_provisioned() -> None:
    place = mounts("grafana")
    folder = ROOT / "grafana" / "provisioning"
    (dashboards,) = (folder / "dashboards").glob("*.yaml")
    (sources,) = (folder / "datasources").glob("*.yaml")
    assert place["/etc/grafana/provisioning"] == "../grafana/provisioning"
    for provider in yaml.safe_load(dashboards.read_text())["providers"]:
        assert place[provider["options"]["path"]] == "../grafana/dashboards"
    (found,) = yaml.safe_load(sources.read_text())["datasources"]
    url = re.sub(r"\$\{(\w+)\}", lambda match: environment("grafana")[match[1]], found["url"])
    assert (found["type"], url) == ("prometheus", "http://prometheus:9090")
