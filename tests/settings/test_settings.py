"""Settings: read from the environment over `.env`, judged all at once."""

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from pydantic import SecretStr, ValidationError

from dispatcher.errors import SettingsError
from dispatcher.message.priority import Priority
from dispatcher.settings import Settings

DOCS = Path(__file__).parents[2] / "docs" / "settings.md"


def load(**given: str) -> Settings:
    with mock.patch.dict(os.environ, {f"DISPATCHER_{name}": value for name, value in given.items()}):
        return Settings.load()


def problems(**given: str) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as raised:
        load(**given)
    return raised.value.problems


def test_nothing_given_is_enough() -> None:
    assert load() == Settings()


@pytest.fixture
def dotenv(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A `.env` yet to be written, in the working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / ".env"


def test_the_environment_wins_over_dotenv(dotenv: Path) -> None:
    dotenv.write_text(
        "DISPATCHER_CELL=file\nDISPATCHER_IN_FLIGHT_PER_NUMBER=7\nDISPATCHER_APP_SECRETS=\nWHATSAPP_TOKEN=x\n"
    )
    assert load(CELL="environment") == Settings(cell="environment", in_flight_per_number=7)


def test_an_empty_variable_leaves_it_to_dotenv(dotenv: Path) -> None:
    dotenv.write_text("DISPATCHER_CELL=eu\nDISPATCHER_METRICS_PORT=9000\n")
    assert load(CELL="", METRICS_PORT="tcp://10.0.0.2:9464") == Settings(cell="eu", metrics_port=9000)


def test_code_wins_over_the_environment_and_reads_no_dotenv(dotenv: Path) -> None:
    dotenv.write_text("DISPATCHER_CELL=file\n")
    with mock.patch.dict(os.environ, {"DISPATCHER_API_PORT": "1", "DISPATCHER_API_HOST": "::1"}):
        settings = Settings(api_port=2)
    assert (settings.cell, settings.api_port, settings.api_host) == ("main", 2, "::1")


def test_dotenv_expands_variables(dotenv: Path) -> None:
    """As python-dotenv does: only ${NAME}, within quotes too."""
    dotenv.write_text("CELL=eu\nDISPATCHER_CELL=${CELL}-1\nDISPATCHER_APP_SECRETS='$CELL,${CELL}'\n")
    settings = load()
    assert (settings.cell, settings.app_secrets) == ("eu-1", (SecretStr("$CELL"), SecretStr("eu")))


def test_what_is_wrong_in_dotenv_is_said_with_the_rest(dotenv: Path) -> None:
    dotenv.write_text("DISPATCHER_CEL=eu\nDISPATCHER_API_PORT=http\nDISPATCHER_LOG_FORMAT\n")
    assert problems(CELL="?") == (
        "DISPATCHER_CELL: '?' is wrong; give 1 to 32 of a-z, 0-9 and -",
        "DISPATCHER_API_PORT: 'http' is wrong; give a port from 1 to 65535, or 0 for a free one",
        "DISPATCHER_LOG_FORMAT: missing; give json or console",
        "DISPATCHER_CEL: unknown; did you mean DISPATCHER_CELL?",
    )


def test_an_unreadable_dotenv_is_named(dotenv: Path) -> None:
    dotenv.write_bytes(b"DISPATCHER_CELL=\xff\n")
    with pytest.raises(SettingsError) as raised:
        load()
    assert str(raised.value) == ".env cannot be read: it is not UTF-8 text"
    assert raised.value.__cause__ is None  # a UnicodeDecodeError has the whole file with it


def test_an_empty_value_counts_as_not_given() -> None:
    assert load(CELL="", IN_FLIGHT_PER_NUMBER="", APP_SECRETS="", REDIS_URL_FILE="") == Settings()


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().cell = "other"  # type: ignore[misc]  # what is tested


def test_everything_wrong_is_said_at_once() -> None:
    assert problems(
        REDIS_URL="http://:wall-paper@host",
        CELL="EU West",
        GRAPH_URL="graph.facebook.com",
        GRAPH_VERSION="25",
        HTTP_TIMEOUT_S="nan",
        CLAIM_TO_POST_S="0.1",
        IN_FLIGHT_PER_NUMBER="2.5",
        METRICS_PORT="65536",
        LOG_LEVEL="chatty",
        LOG_FORMAT="xml",
        EVENTS_KEPT_S="forever",
        CEL="eu",
        QWERTZ="secret",
    ) == (
        "DISPATCHER_REDIS_URL: what was given (not shown) is wrong; give a URL such as redis://:password@host:6379/0",
        "DISPATCHER_CELL: 'EU West' is wrong; give 1 to 32 of a-z, 0-9 and -",
        "DISPATCHER_GRAPH_URL: 'graph.facebook.com' is wrong; give a URL such as https://graph.facebook.com",
        "DISPATCHER_GRAPH_VERSION: '25' is wrong; give a version such as v25.0",
        "DISPATCHER_HTTP_TIMEOUT_S: 'nan' is wrong; give seconds from 0.1 to 300",
        "DISPATCHER_CLAIM_TO_POST_S: '0.1' is wrong; give seconds from 0.2 to 60",
        "DISPATCHER_IN_FLIGHT_PER_NUMBER: '2.5' is wrong; give a whole number from 1 to 100000",
        "DISPATCHER_EVENTS_KEPT_S: 'forever' is wrong; give seconds from 60 to 2592000",
        "DISPATCHER_METRICS_PORT: '65536' is wrong; give a port from 1 to 65535, or 0 for no metrics",
        "DISPATCHER_LOG_LEVEL: 'CHATTY' is wrong; give DEBUG, INFO, WARNING or ERROR",
        "DISPATCHER_LOG_FORMAT: 'xml' is wrong; give json or console",
        "DISPATCHER_CEL: unknown; did you mean DISPATCHER_CELL?",
        "DISPATCHER_QWERTZ: unknown",
    )


def test_rules_between_settings_are_judged_with_the_rest() -> None:
    assert problems(NUMBER_LEASE_S="5", REDIS_TIMEOUT_S="3", CELL="?") == (
        "DISPATCHER_CELL: '?' is wrong; give 1 to 32 of a-z, 0-9 and -",
        "DISPATCHER_REDIS_TIMEOUT_S: 3 is more than half of DISPATCHER_NUMBER_LEASE_S: 5; give 2.5 or less",
    )
    assert problems(MESSAGE_LEASE_MARGIN_S="1.5", CELL="?") == (
        "DISPATCHER_CELL: '?' is wrong; give 1 to 32 of a-z, 0-9 and -",
        "DISPATCHER_MESSAGE_LEASE_MARGIN_S: 1.5 is less than DISPATCHER_REDIS_TIMEOUT_S: 2; give 2 or more",
    )


def test_a_number_is_taken_over_in_8_seconds_at_the_latest() -> None:
    limits = [
        Settings.model_json_schema()["properties"][name]["maximum"] for name in ("number_lease_s", "take_interval_s")
    ]
    assert sum(limits) == 8


def test_a_rule_is_not_judged_on_a_value_that_is_wrong_itself() -> None:
    assert problems(NUMBER_LEASE_S="0.1", REDIS_TIMEOUT_S="7", MESSAGE_LEASE_MARGIN_S="7") == (
        "DISPATCHER_NUMBER_LEASE_S: '0.1' is wrong; give seconds from 0.15 to 7",
    )


def test_leases_can_be_short() -> None:
    settings = load(NUMBER_LEASE_S="0.5", REDIS_TIMEOUT_S="0.25", MESSAGE_LEASE_MARGIN_S="0.25", HTTP_TIMEOUT_S="0.5")
    assert settings.message_lease_s(Priority.BULK) == 1.75


@pytest.mark.parametrize("given", [{"cell": "?"}, {"redis_timeout_s": 3}, {"cel": "main"}])
def test_settings_made_in_code_obey_the_same_rules(given: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        Settings(**given)


def test_names_that_are_arguments_of_the_library_are_unknown_like_others() -> None:
    assert problems(_ENV_FILE="/etc/passwd", MODEL_CONFIG="1") == (
        "DISPATCHER__ENV_FILE: unknown",
        "DISPATCHER_MODEL_CONFIG: unknown",
    )


def test_what_kubernetes_injects_is_ignored() -> None:
    """Among it the port of a Service called dispatcher-metrics, which has the name of our own setting."""
    injected = {
        "SERVICE_HOST": "10.0.0.1",
        "SERVICE_PORT": "80",
        "SERVICE_PORT_HTTP": "80",
        "PORT": "tcp://10.0.0.1:80",
        "PORT_80_TCP": "tcp://10.0.0.1:80",
        "PORT_80_TCP_PROTO": "tcp",
        "PORT_80_TCP_PORT": "80",
        "PORT_80_TCP_ADDR": "10.0.0.1",
        "METRICS_SERVICE_HOST": "10.0.0.2",
        "METRICS_SERVICE_PORT": "9464",
        "METRICS_PORT_9464_TCP_ADDR": "10.0.0.2",
        "METRICS_PORT": "tcp://10.0.0.2:9464",
    }
    assert load(**injected) == Settings()


def test_what_only_looks_injected_is_refused() -> None:
    assert problems(PORT="9464", REDIS_PORT="6379", HOST="h") == (
        "DISPATCHER_HOST: unknown; did you mean DISPATCHER_API_HOST?",
        "DISPATCHER_PORT: unknown; did you mean DISPATCHER_API_PORT?",
        "DISPATCHER_REDIS_PORT: unknown; did you mean DISPATCHER_REDIS_URL?",
    )


@pytest.mark.parametrize(
    "url",
    ["redis://host", "rediss://user:pass@host:1234/3", "unix:///run/redis.sock", "unix://:pass@/run/redis.sock?db=1"],
)
def test_urls_of_redis_are_taken(url: str) -> None:
    assert load(REDIS_URL=url).redis_url == SecretStr(url)


@pytest.mark.parametrize(
    "url", ["host:6379", "redis://", "redis://host:port", "redis://host/main", "unix://", "redis://["]
)
def test_urls_that_lead_nowhere_are_refused(url: str) -> None:
    assert problems(REDIS_URL=url) == (
        "DISPATCHER_REDIS_URL: what was given (not shown) is wrong; give a URL such as redis://:password@host:6379/0",
    )


def test_the_password_of_redis_is_shown_nowhere() -> None:
    settings = load(REDIS_URL="redis://user:wall-paper@host:6379/3?password=carpet")
    assert settings.redis_address == "redis://host:6379/3"
    assert "wall-paper" not in f"{settings} {settings!r} {settings.model_dump()} {settings.model_dump_json()}"
    assert "carpet" not in f"{settings} {settings!r}"


def test_the_url_of_redis_may_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text("redis://:wall-paper@host\n")
    assert load(REDIS_URL_FILE=str(file)).redis_url == SecretStr("redis://:wall-paper@host")


def test_a_bad_file_with_the_url_of_redis_is_named(tmp_path: Path) -> None:
    file = tmp_path / "url"
    assert problems(REDIS_URL_FILE=str(file)) == (
        f"DISPATCHER_REDIS_URL: DISPATCHER_REDIS_URL_FILE '{file}' cannot be read (No such file or directory); give the path of a file",
    )
    file.write_bytes(b"\xff")
    assert problems(REDIS_URL_FILE=str(file)) == (
        f"DISPATCHER_REDIS_URL: DISPATCHER_REDIS_URL_FILE '{file}' cannot be read (it is not UTF-8 text); give the path of a file",
    )
    file.write_text("wall-paper")
    assert problems(REDIS_URL_FILE=str(file)) == (
        f"DISPATCHER_REDIS_URL: DISPATCHER_REDIS_URL_FILE '{file}' holds what is wrong (not shown); "
        "put a URL such as redis://:password@host:6379/0 there",
    )
    assert problems(REDIS_URL_FILE=str(file), REDIS_URL="redis://host", CELL="?") == (
        "DISPATCHER_REDIS_URL: DISPATCHER_REDIS_URL_FILE is given as well; give one of them",
        "DISPATCHER_CELL: '?' is wrong; give 1 to 32 of a-z, 0-9 and -",
    )


def test_secrets_come_in_any_number_and_from_files(tmp_path: Path) -> None:
    file = tmp_path / "secrets"
    file.write_text("new\nold\n\n")
    both = (SecretStr("new"), SecretStr("old"))
    assert load(APP_SECRETS="new, old,new").app_secrets == both
    assert load(APP_SECRETS_FILE=str(file)).app_secrets == both
    assert load().app_secrets == ()
    file.write_text("token\n")
    assert load(WEBHOOK_VERIFY_TOKEN_FILE=str(file)).webhook_verify_token == SecretStr("token")
    file.write_text("http://one/\nhttps://two/hook\n")
    urls = load(WEBHOOK_FORWARD_URLS_FILE=str(file)).webhook_forward_urls
    assert [url.get_secret_value() for url in urls] == ["http://one/", "https://two/hook"]
    shown = load(APP_SECRETS="wall-paper", WEBHOOK_FORWARD_URLS="http://host/?token=wall-paper")
    assert "wall-paper" not in f"{shown} {shown!r} {shown.model_dump()}"


def test_wrong_secrets_and_urls_are_not_repeated(tmp_path: Path) -> None:
    file = tmp_path / "secrets"
    file.write_text("carpét")
    assert problems(
        APP_SECRETS_FILE=str(file),
        WEBHOOK_VERIFY_TOKEN="wall paper",
        WEBHOOK_FORWARD_URLS="https://host/,ftp://wall-paper",
        API_PORT="80000",
        API_HOST="a b",
    ) == (
        f"DISPATCHER_APP_SECRETS: DISPATCHER_APP_SECRETS_FILE '{file}' holds what is wrong (not shown); "
        "put secrets, separated by commas there",
        "DISPATCHER_WEBHOOK_VERIFY_TOKEN: what was given (not shown) is wrong; give a text without white space",
        "DISPATCHER_WEBHOOK_FORWARD_URLS: what was given (not shown) is wrong; "
        "give URLs such as https://host/path, separated by commas",
        "DISPATCHER_API_HOST: 'a b' is wrong; give a name or address; 0.0.0.0 is every one",
        "DISPATCHER_API_PORT: '80000' is wrong; give a port from 1 to 65535, or 0 for a free one",
    )


def test_a_password_in_the_url_of_graph_is_not_repeated() -> None:
    assert problems(GRAPH_URL="https://user:wall-paper@host") == (
        "DISPATCHER_GRAPH_URL: what was given (not shown) is wrong; give a URL such as https://graph.facebook.com",
    )


def test_the_url_of_graph_loses_its_last_slash() -> None:
    assert load(GRAPH_URL="http://127.0.0.1:8080/").graph_url == "http://127.0.0.1:8080"


def test_small_letters_will_do_for_names_and_levels() -> None:
    with mock.patch.dict(os.environ, {"dispatcher_log_level": "debug"}):
        assert Settings().log_level == "DEBUG"


def test_times_of_lanes_follow_from_the_settings() -> None:
    settings = Settings()
    assert [settings.post_limit_s(priority) for priority in Priority] == [6, 15, 15]
    assert [settings.message_lease_s(priority) for priority in Priority] == [13, 22, 22]
    assert settings.stop_limit_s == 20


def test_errors_survive_the_way_between_processes() -> None:
    error = SettingsError(problems(CELL="?"))
    assert pickle.loads(pickle.dumps(error)).problems == error.problems


def test_the_documentation_lists_every_setting_as_it_is() -> None:
    lines = [line for line in DOCS.read_text().splitlines() if line.startswith("| `") and line.count("|") == 6]
    assert sorted(lines) == sorted(documented(name) for name in Settings.model_fields)


def documented(name: str) -> str:
    field = Settings.model_fields[name]
    default = field.default.get_secret_value() if isinstance(field.default, SecretStr) else field.default
    shown = "" if default in (None, ()) else f" `{default:.10g}`" if isinstance(default, float) else f" `{default}`"
    unit = " s" if name.endswith("_s") else ""
    assert isinstance(field.json_schema_extra, dict)
    return f"| `{name.upper()}` |{shown or ' '} |{unit or ' '} | {field.description} | {field.json_schema_extra['right']} |"


def test_a_producer_imports_no_settings() -> None:
    script = "import sys, dispatcher; print(*(name for name in sys.modules if 'settings' in name or 'dotenv' in name))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
