"""The settings of a process: names, defaults, limits, and the rules between them. It knows nothing of their use.

Only the composition root and the commands read them; everything else is given plain values.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import SplitResult, urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ModelWrapValidatorHandler,
    SecretStr,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from dispatcher import errors
from dispatcher.message.priority import Priority
from dispatcher.settings.problems import described, explained, problem, right_for, why_unreadable

PREFIX: Final = "DISPATCHER_"

# What Kubernetes puts into every pod for a Service called `dispatcher` or `dispatcher-…`. One called
# `dispatcher-metrics` injects DISPATCHER_METRICS_PORT=tcp://…, which has the name of a setting.
# https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
_INJECTED: Final = re.compile(
    r"(\w+_)?(service_host=|service_port(_\w+)?=|port_\d+_(tcp|udp|sctp)(_(proto|port|addr))?=|port=(tcp|udp|sctp)://)"
)


def _seconds(default: float, meaning: str, least: float = 0.001, most: float = 86_400) -> Any:
    right = f"seconds from {least:.10g} to {most:.10g}"
    return described(default, meaning, right, ge=least, le=most, allow_inf_nan=False)


def _port(default: int, meaning: str, zero: str) -> Any:
    return described(default, meaning, f"a port from 1 to 65535, or 0 for {zero}", ge=0, le=65_535)


def _secret(default: Any, meaning: str, right: str) -> Any:
    return described(default, meaning, right, is_secret=True)


def _file(meaning: str) -> Any:
    return described(None, meaning, "the path of a file")


def _server(url: str, *schemes: str) -> SplitResult:
    parts = urlsplit(url)
    if parts.scheme not in schemes or not parts.hostname or parts.port == 0 or parts.fragment:
        raise ValueError("not such a URL")
    return parts


def _redis_url(given: SecretStr) -> SecretStr:
    url = urlsplit(given.get_secret_value())
    if url.scheme == "unix" and url.path:
        return given
    if not re.fullmatch(r"(/\d*)?", _server(given.get_secret_value(), "redis", "rediss").path):
        raise ValueError("more than a database number behind the server")
    return given


def _graph_url(given: str) -> str:
    url = _server(given, "http", "https")
    if url.username or url.query:
        raise ValueError("more than a server")
    return given.rstrip("/")


def _forward_url(given: SecretStr) -> SecretStr:
    _server(given.get_secret_value(), "http", "https")
    return given


def _printable(given: SecretStr) -> SecretStr:
    if not re.fullmatch(r"[!-~]+", given.get_secret_value()):
        raise ValueError("empty, or with white space")
    return given


def _split(given: Any) -> Any:
    """Split a text at commas and white space; each part stands once."""
    return tuple(dict.fromkeys(filter(None, re.split(r"[,\s]+", given)))) if isinstance(given, str) else given


_Secret = Annotated[SecretStr, AfterValidator(_printable)]
_ForwardUrl = Annotated[SecretStr, AfterValidator(_forward_url)]


class _Environment(EnvSettingsSource):
    """The environment: every variable with our prefix, also unknown ones, but for what Kubernetes put there."""

    def __call__(self) -> dict[str, Any]:
        prefix = PREFIX.lower()
        given = {name.removeprefix(prefix): text for name, text in self.env_vars.items() if name.startswith(prefix)}
        return {name: text for name, text in sorted(given.items()) if not _INJECTED.match(f"{name}={text}")}


class Settings(BaseSettings):
    """All settings; each is `DISPATCHER_` and its name in capitals in the environment, or an argument in code.

    Raises:
        SettingsError: With everything that is wrong, at once.
    """

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix=PREFIX,
        env_ignore_empty=True,
        enable_decoding=False,  # no value is JSON
        dotenv_filtering="match_prefix",
        hide_input_in_errors=True,
    )

    # Validators see only the fields above their own: a file stands above what it holds, a rule below its other field.
    redis_url_file: Path | None = _file("A file that holds `REDIS_URL` instead.")
    redis_url: Annotated[SecretStr, AfterValidator(_redis_url)] = _secret(
        SecretStr("redis://localhost:6379/0"), "The cell's Redis.", "a URL such as redis://:password@host:6379/0"
    )
    cell: str = described(
        "main", "The cell this process works for.", "1 to 32 of a-z, 0-9 and -", pattern=r"^[a-z0-9-]{1,32}$"
    )

    numbers_file: Path = described(Path("numbers.toml"), "The numbers to send from, and their tokens.", "a path")
    graph_url: Annotated[str, AfterValidator(_graph_url)] = described(
        "https://graph.facebook.com", "Where the Cloud API answers.", "a URL such as https://graph.facebook.com"
    )
    graph_version: str = described(
        "v25.0", "The version of the Cloud API.", "a version such as v25.0", pattern=r"^v\d{1,3}\.\d{1,3}$"
    )
    http_timeout_s: float = _seconds(15.0, "How long a POST may take in all.", 0.1, 300)
    http_timeout_urgent_s: float = _seconds(6.0, "The same for urgent messages.", 0.1, 300)
    claim_to_post_s: float = _seconds(1.0, "How old a claim may be when its POST begins.", 0.2, 60)
    in_flight_per_number: int = described(
        2000,
        "Most POSTs of one number that a process has in flight.",
        "a whole number from 1 to 100000",
        ge=1,
        le=100_000,
    )

    # At least: ten claims of a busy number, each of which renews it. At most: with the longest take interval another
    # process takes the numbers of one that is gone after 8 s, well under the 10 s that are promised.
    number_lease_s: float = _seconds(4.0, "How long a number waits for a worker that says nothing.", 0.15, 7)
    take_interval_s: float = _seconds(0.01, "How often to look for numbers that need serving.", 0.001, 1)
    redis_timeout_s: float = _seconds(2.0, "How long an answer of Redis may take.")
    message_lease_margin_s: float = _seconds(
        6.0, "How much longer a claimed message waits than its POST can take, until it is uncertain.", 0.1
    )
    uncertain_window_s: float = _seconds(60.0, "How long to wait for evidence when an answer was lost.", 0.1)
    uncertain_window_urgent_s: float = _seconds(10.0, "The same for urgent messages.", 0.1)
    events_kept_s: float = _seconds(86_400.0, "How long events can be read.", 60, 2_592_000)

    app_secrets_file: Path | None = _file("A file that holds `APP_SECRETS` instead, one a line.")
    app_secrets: Annotated[tuple[_Secret, ...], BeforeValidator(_split)] = _secret(
        (), "The app's secrets, which webhooks are signed with; one is enough.", "secrets, separated by commas"
    )
    webhook_verify_token_file: Path | None = _file("A file that holds `WEBHOOK_VERIFY_TOKEN` instead.")
    webhook_verify_token: _Secret | None = _secret(
        None, "What Meta says when the webhook is set up in the app.", "a text without white space"
    )
    webhook_forward_urls_file: Path | None = _file("A file that holds `WEBHOOK_FORWARD_URLS` instead, one a line.")
    webhook_forward_urls: Annotated[tuple[_ForwardUrl, ...], BeforeValidator(_split)] = _secret(
        (), "Where webhooks are passed on to, as they came.", "URLs such as https://host/path, separated by commas"
    )
    webhook_forward_kept_s: float = _seconds(86_400.0, "How long to try to pass a webhook on.", 1, 2_592_000)
    opt_out_words_file: Path | None = _file("A file with the words that stop and resume marketing.")
    api_host: str = described(
        "127.0.0.1", "Where the API listens.", "a name or address; 0.0.0.0 is every one", pattern=r"^[0-9A-Za-z.:-]+$"
    )
    api_port: int = _port(8000, "The port of the API.", "a free one")

    metrics_port: int = _port(9464, "Where metrics are served; 0 for nowhere.", "no metrics")
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(str.upper)] = described(
        "INFO", "The least that is logged.", "DEBUG, INFO, WARNING or ERROR"
    )
    log_format: Literal["json", "console"] = described("json", "How logs are written.", "json or console")

    @classmethod
    def load(cls) -> Self:
        """Read the environment over the file `.env` of the working directory, which may be missing.

        Raises:
            SettingsError: With everything that is wrong, at once.
        """
        try:
            return cls(_env_file=".env")
        except (OSError, UnicodeDecodeError) as exc:
            raise errors.SettingsError(
                (f".env cannot be read: {why_unreadable(exc)}",)
            ) from None  # it may hold the file

    @property
    def redis_address(self) -> str:
        """The Redis URL without name and password, for people and logs."""
        url = urlsplit(self.redis_url.get_secret_value())
        return url._replace(netloc=url.netloc.rpartition("@")[2], query="").geturl()

    @property
    def stop_limit_s(self) -> float:
        """Seconds from SIGTERM to the end of the process at the latest."""
        return max(self.http_timeout_s, self.http_timeout_urgent_s) + 5

    def post_limit_s(self, priority: Priority) -> float:
        """Return how many seconds a POST of this priority may take in all."""
        return self.http_timeout_urgent_s if priority == Priority.URGENT else self.http_timeout_s

    def message_lease_s(self, priority: Priority) -> float:
        """Return after how many seconds a claimed message of this priority, if nothing is heard, is uncertain."""
        return self.claim_to_post_s + self.post_limit_s(priority) + self.message_lease_margin_s

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic-settings calls with these names
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read unknown variables too, so that they are refused."""
        return init_settings, _Environment(settings_cls), dotenv_settings

    @field_validator("redis_url", "app_secrets", "webhook_verify_token", "webhook_forward_urls", mode="wrap")
    @classmethod
    def _from_file(cls, given: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        """Take what is in the file, if one is given."""
        name = str(info.field_name)
        path, variable = info.data.get(f"{name}_file"), f"{PREFIX}{name.upper()}_FILE"
        if path is None:
            return handler(given)
        if given != cls.model_fields[name].default:
            raise problem(f"{variable} is given as well; give one of them")
        try:
            return handler(path.read_text(encoding="utf-8").strip())
        except (OSError, UnicodeDecodeError) as exc:
            why = f"cannot be read ({why_unreadable(exc)}); give the path of a file"
        except ValidationError:
            why = f"holds what is wrong (not shown); put {right_for(cls, name)} there"
        raise problem(f"{variable} {str(path)!r} {why}")

    @field_validator("redis_timeout_s")
    @classmethod
    def _keeps_the_lease(cls, given: float, info: ValidationInfo) -> float:
        most = info.data.get("number_lease_s", 2 * given) / 2
        if given > most:
            raise problem(f"{given:g} is more than half of {PREFIX}NUMBER_LEASE_S: {2 * most:g}; give {most:g} or less")
        return given

    @field_validator("message_lease_margin_s")
    @classmethod
    def _settles_in_time(cls, given: float, info: ValidationInfo) -> float:
        least = info.data.get("redis_timeout_s", given)
        if given < least:
            raise problem(f"{given:g} is less than {PREFIX}REDIS_TIMEOUT_S: {least:g}; give {least:g} or more")
        return given

    @model_validator(mode="wrap")
    @classmethod
    def _explain(cls, given: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Say what is wrong in words for people; the library's error would hold secrets."""
        try:
            return handler(given)
        except ValidationError as exc:
            problems = explained(exc, cls, lambda name: PREFIX + name.upper())
        raise errors.SettingsError(tuple(problems))
