"""Settings: read from the environment over `.env`, judged all at once."""

import pickle
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from dispatcher.errors import SettingsError
from dispatcher.priority import Priority
from dispatcher.settings import LaneTimes, Settings

DOCS = Path(__file__).parents[2] / "docs" / "settings.md"


def load(**given: str) -> Settings:
    return Settings.load({f"DISPATCHER_{name}": value for name, value in given.items()}, None)


def problems(**given: str) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as raised:
        load(**given)
    return raised.value.problems


def test_nothing_given_is_enough() -> None:
    assert Settings.load({}, None) == Settings()


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("DISPATCHER_CELL=file\nDISPATCHER_ROOM=7\nWHATSAPP_TOKEN=x\n")
    settings = Settings.load({"DISPATCHER_CELL": "environment"}, file)
    assert (settings.cell, settings.room) == ("environment", 7)


def test_the_process_environment_and_dotenv_are_read_by_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DISPATCHER_CELL", "eu")
    (tmp_path / ".env").write_text("DISPATCHER_ROOM=7\n")
    assert Settings.load() == Settings(cell="eu", room=7)


def test_an_unreadable_dotenv_is_named(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_bytes(b"DISPATCHER_CELL=\xff\n")
    with pytest.raises(SettingsError) as raised:
        Settings.load({}, file)
    assert str(raised.value) == f"{file} cannot be read: it is not UTF-8 text"


def test_an_empty_value_counts_as_not_given() -> None:
    assert load(CELL="", ROOM="") == Settings()


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
        ROOM="2.5",
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
        "DISPATCHER_ROOM: '2.5' is wrong; give a whole number from 1 to 100000",
        "DISPATCHER_EVENTS_KEPT_S: 'forever' is wrong; give seconds from 60 to 2592000",
        "DISPATCHER_METRICS_PORT: '65536' is wrong; give a port from 1 to 65535, or 0 for no metrics",
        "DISPATCHER_LOG_LEVEL: 'chatty' is wrong; give DEBUG, INFO, WARNING or ERROR",
        "DISPATCHER_LOG_FORMAT: 'xml' is wrong; give json or console",
        "DISPATCHER_CEL: no such setting; did you mean DISPATCHER_CELL?",
        "DISPATCHER_QWERTZ: no such setting",
    )


def test_rules_between_settings_are_judged_with_the_rest() -> None:
    assert problems(NUMBER_LEASE_S="8", REDIS_TIMEOUT_S="7", CELL="?") == (
        "DISPATCHER_CELL: '?' is wrong; give 1 to 32 of a-z, 0-9 and -",
        "DISPATCHER_NUMBER_LEASE_S: 8 and DISPATCHER_TAKE_INTERVAL_S: 0.01 together are more than 8; give 7.99 or less",
        "DISPATCHER_REDIS_TIMEOUT_S: 7 is more than half of DISPATCHER_NUMBER_LEASE_S: 8; give 4 or less",
        "DISPATCHER_MESSAGE_LEASE_MARGIN_S: 6 is less than DISPATCHER_REDIS_TIMEOUT_S: 7, "
        "so a worker could settle too late; give 7 or more",
    )


def test_a_rule_is_not_judged_on_a_value_that_is_wrong_itself() -> None:
    assert problems(NUMBER_LEASE_S="0.1", REDIS_TIMEOUT_S="7", MESSAGE_LEASE_MARGIN_S="7") == (
        "DISPATCHER_NUMBER_LEASE_S: '0.1' is wrong; give seconds from 0.15 to 8",
    )


def test_leases_can_be_short() -> None:
    settings = load(NUMBER_LEASE_S="0.5", REDIS_TIMEOUT_S="0.25", MESSAGE_LEASE_MARGIN_S="0.25", HTTP_TIMEOUT_S="0.5")
    assert settings.lane(Priority.BULK).message_lease_s == 1.75


@pytest.mark.parametrize("given", [{"cell": "?"}, {"number_lease_s": 8}, {"cel": "main"}])
def test_settings_made_in_code_obey_the_same_rules(given: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        Settings(**given)


def test_names_that_are_arguments_of_the_library_are_unknown_like_others() -> None:
    assert problems(_ENV_FILE="/etc/passwd", MODEL_CONFIG="1") == (
        "DISPATCHER__ENV_FILE: no such setting",
        "DISPATCHER_MODEL_CONFIG: no such setting",
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
        "DISPATCHER_HOST: no such setting; did you mean DISPATCHER_API_HOST?",
        "DISPATCHER_PORT: no such setting; did you mean DISPATCHER_API_PORT?",
        "DISPATCHER_REDIS_PORT: no such setting; did you mean DISPATCHER_REDIS_URL?",
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
        f"DISPATCHER_REDIS_URL_FILE: '{file}' cannot be read (No such file or directory); give the path of a file",
    )
    file.write_bytes(b"\xff")
    assert problems(REDIS_URL_FILE=str(file)) == (
        f"DISPATCHER_REDIS_URL_FILE: '{file}' cannot be read (it is not text); give the path of a file",
    )
    file.write_text("wall-paper")
    assert problems(REDIS_URL_FILE=str(file)) == (
        f"DISPATCHER_REDIS_URL_FILE: what '{file}' holds (not shown) is wrong; "
        "put a URL such as redis://:password@host:6379/0 there",
    )
    assert problems(REDIS_URL_FILE=str(file), REDIS_URL="redis://host", CELL="?") == (
        "DISPATCHER_REDIS_URL and DISPATCHER_REDIS_URL_FILE are both given; give one of them",
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
        f"DISPATCHER_APP_SECRETS_FILE: what '{file}' holds (not shown) is wrong; "
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
    assert Settings.load({"dispatcher_log_level": "debug"}, None) == Settings(log_level="DEBUG")


def test_times_of_lanes_follow_from_the_settings() -> None:
    settings = Settings()
    patient = LaneTimes(http_timeout_s=15, message_lease_s=22)
    assert {lane: settings.lane(lane) for lane in Priority} == {
        Priority.URGENT: LaneTimes(http_timeout_s=6, message_lease_s=13),
        Priority.NORMAL: patient,
        Priority.BULK: patient,
    }
    assert settings.stop_limit_s == 20


def test_errors_survive_the_way_between_processes() -> None:
    error = SettingsError(problems(CELL="?"))
    assert pickle.loads(pickle.dumps(error)).problems == error.problems


def test_the_documentation_lists_every_setting_as_it_is() -> None:
    lines = [line for line in DOCS.read_text().splitlines() if line.startswith("| `") and line.count("|") == 6]
    assert lines == [documented(name) for name in Settings.model_fields]


def documented(name: str) -> str:
    field = Settings.model_fields[name]
    default = field.default.get_secret_value() if isinstance(field.default, SecretStr) else field.default
    shown = "" if default in (None, ()) else f" `{default:.10g}`" if isinstance(default, float) else f" `{default}`"
    unit = " s" if name.endswith("_s") else ""
    assert isinstance(field.json_schema_extra, dict)
    return f"| `{name.upper()}` |{shown or ' '} |{unit or ' '} | {field.description} | {field.json_schema_extra['right']} |"
