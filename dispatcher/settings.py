"""The settings of a process: names, defaults, limits, and the rules between them. It knows nothing of their use.

Only the composition root and the commands read them; everything else is given plain values.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, ModelWrapValidatorHandler, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from dispatcher import environment, errors
from dispatcher.environment import PREFIX
from dispatcher.priority import Priority
from dispatcher.settingfields import (
    ForwardUrls,
    GraphUrl,
    RedisUrl,
    Secret,
    Secrets,
    from_files,
    port,
    seconds,
    setting,
)

CLAIM_INTERVAL_S: Final = 0.015
"""Seconds between two claims of a busy number; each renews its lease."""
NUMBER_LEASE_S_MIN: Final = 10 * CLAIM_INTERVAL_S
RECOVERY_S_MAX: Final = 8.0
"""Seconds until another process takes a number whose worker is gone: well under the 10 s that are promised."""


class Settings(BaseSettings):
    """All settings; each is `DISPATCHER_` and its name in capitals in the environment or `.env`.

    Raises:
        SettingsError: With everything that is wrong, at once.
    """

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_prefix=PREFIX, hide_input_in_errors=True)

    redis_url: RedisUrl = setting(
        SecretStr("redis://localhost:6379/0"), "The cell's Redis.", "a URL such as redis://:password@host:6379/0"
    )
    redis_url_file: Path | None = setting(None, "A file that holds `REDIS_URL` instead.", "the path of a file")
    redis_timeout_s: float = seconds(2.0, "How long an answer of Redis may take.")
    cell: str = setting(
        "main", "The cell this process works for.", "1 to 32 of a-z, 0-9 and -", pattern=r"^[a-z0-9-]{1,32}$"
    )

    numbers_file: Path = setting(Path("numbers.toml"), "The numbers to send from, and their tokens.", "a path")
    graph_url: GraphUrl = setting(
        "https://graph.facebook.com", "Where the Cloud API answers.", "a URL such as https://graph.facebook.com"
    )
    graph_version: str = setting(
        "v25.0", "The version of the Cloud API.", "a version such as v25.0", pattern=r"^v\d{1,3}\.\d{1,3}$"
    )
    http_timeout_s: float = seconds(15.0, "How long a POST may take in all.", 0.1, 300)
    http_timeout_urgent_s: float = seconds(6.0, "The same for urgent messages.", 0.1, 300)
    claim_to_post_s: float = seconds(1.0, "How old a claim may be when its POST begins.", 0.2, 60)
    room: int = setting(
        2000, "Most POSTs in flight for one number.", "a whole number from 1 to 100000", ge=1, le=100_000
    )

    take_interval_s: float = seconds(0.01, "How often to look for numbers that need serving.", 0.001, 1)
    number_lease_s: float = seconds(
        4.0, "How long a number waits for a worker that says nothing.", NUMBER_LEASE_S_MIN, RECOVERY_S_MAX
    )
    message_lease_margin_s: float = seconds(
        6.0, "How much longer a claimed message waits than its POST can take, until it is uncertain.", 0.1
    )
    uncertain_window_s: float = seconds(60.0, "How long to wait for evidence when an answer was lost.", 0.1)
    uncertain_window_urgent_s: float = seconds(10.0, "The same for urgent messages.", 0.1)
    events_kept_s: float = seconds(86_400.0, "How long events can be read.", 60, 2_592_000)

    app_secrets: Secrets = setting(
        (), "The app's secrets, which webhooks are signed with; one is enough.", "secrets, separated by commas"
    )
    app_secrets_file: Path | None = setting(
        None, "A file that holds `APP_SECRETS` instead, one a line.", "the path of a file"
    )
    webhook_verify_token: Secret | None = setting(
        None, "What Meta says when the webhook is set up in the app.", "a text without white space"
    )
    webhook_verify_token_file: Path | None = setting(
        None, "A file that holds `WEBHOOK_VERIFY_TOKEN` instead.", "the path of a file"
    )
    webhook_forward_urls: ForwardUrls = setting(
        (), "Where webhooks are passed on to, as they came.", "URLs such as https://host/path, separated by commas"
    )
    webhook_forward_urls_file: Path | None = setting(
        None, "A file that holds `WEBHOOK_FORWARD_URLS` instead, one a line.", "the path of a file"
    )
    webhook_forward_kept_s: float = seconds(86_400.0, "How long to try to pass a webhook on.", 1, 2_592_000)
    opt_out_words_file: Path | None = setting(
        None, "A file with the words that stop and resume marketing.", "the path of a file"
    )
    api_host: str = setting(
        "127.0.0.1", "Where the API listens.", "a name or address; 0.0.0.0 is every one", pattern=r"^[0-9A-Za-z.:-]+$"
    )
    api_port: int = port(8000, "The port of the API.", "a free one")

    metrics_port: int = port(9464, "Where metrics are served; 0 for nowhere.", "no metrics")
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(lambda given: str(given).upper())
    ] = setting("INFO", "The least that is logged.", "DEBUG, INFO, WARNING or ERROR")
    log_format: Literal["json", "console"] = setting("json", "How logs are written.", "json or console")

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None, env_file: Path | str | None = ".env") -> Self:
        """Read the environment (`environ`, default: that of the process) over `env_file`, which may be missing.

        Raises:
            SettingsError: With everything that is wrong, at once.
        """
        given = environment.ours(environment.read(environ, env_file))
        values: dict[str, Any] = {_field_name(name): value for name, value in given.items()}
        return cls(**values)

    @property
    def redis_address(self) -> str:
        """The Redis URL without name and password, for people and logs."""
        url = urlsplit(self.redis_url.get_secret_value())
        return url._replace(netloc=url.netloc.rpartition("@")[2], query="").geturl()

    @property
    def stop_limit_s(self) -> float:
        """Seconds from SIGTERM to the end of the process at the latest."""
        return max(self.http_timeout_s, self.http_timeout_urgent_s) + 5

    def lane(self, priority: Priority) -> "LaneTimes":
        """Return the times that hold for messages of this priority."""
        is_urgent = priority == Priority.URGENT
        http_timeout_s = self.http_timeout_urgent_s if is_urgent else self.http_timeout_s
        return LaneTimes(
            http_timeout_s=http_timeout_s,
            message_lease_s=self.claim_to_post_s + http_timeout_s + self.message_lease_margin_s,
        )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - pydantic-settings calls with these names
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take only what `load` read: pydantic's own sources stay silent about names that are none of ours."""
        return (init_settings,)

    @model_validator(mode="wrap")
    @classmethod
    def _judge(cls, given: dict[str, Any], handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Find every problem before giving up: unreadable files, fields, then the rules between sound fields."""
        values, problems = from_files(given, _FROM_FILES)
        broken: set[str] = set()
        try:
            made = handler(values)
        except ValidationError as exc:
            broken = {str(error["loc"][0]) for error in exc.errors(include_input=False)}
            ordered = [name for name in cls.model_fields if name in broken] + sorted(broken - set(cls.model_fields))
            problems += [_explained(name, values) for name in ordered]
            made = handler({name: value for name, value in values.items() if name not in broken})
        problems += [rule.says(made) for rule in _RULES if not rule.fields & broken and not rule.holds(made)]
        if problems:
            raise errors.SettingsError(tuple(problems))
        return made


@dataclass(frozen=True, slots=True)
class LaneTimes:
    """The times of one lane, in seconds: the POST's total deadline, and the message's lease."""

    http_timeout_s: float
    message_lease_s: float


@dataclass(frozen=True, slots=True)
class _Rule:
    """What must hold between settings; `says` names them, their values and what would be right."""

    fields: frozenset[str]
    holds: Callable[[Settings], bool]
    says: Callable[[Settings], str]


_FROM_FILES: Final = ("redis_url", "app_secrets", "webhook_verify_token", "webhook_forward_urls")
_SECRET: Final = frozenset(_FROM_FILES)
_RULES: Final = (
    _Rule(
        frozenset({"number_lease_s", "take_interval_s"}),
        lambda given: given.number_lease_s + given.take_interval_s <= RECOVERY_S_MAX,
        lambda given: (
            f"{PREFIX}NUMBER_LEASE_S: {given.number_lease_s:g} and {PREFIX}TAKE_INTERVAL_S: {given.take_interval_s:g} "
            f"together are more than {RECOVERY_S_MAX:g}; give {RECOVERY_S_MAX - given.take_interval_s:g} or less"
        ),
    ),
    _Rule(
        frozenset({"number_lease_s", "redis_timeout_s"}),
        lambda given: given.redis_timeout_s <= given.number_lease_s / 2,
        lambda given: (
            f"{PREFIX}REDIS_TIMEOUT_S: {given.redis_timeout_s:g} is more than half of {PREFIX}NUMBER_LEASE_S: "
            f"{given.number_lease_s:g}; give {given.number_lease_s / 2:g} or less"
        ),
    ),
    _Rule(
        frozenset({"message_lease_margin_s", "redis_timeout_s"}),
        lambda given: given.message_lease_margin_s >= given.redis_timeout_s,
        lambda given: (
            f"{PREFIX}MESSAGE_LEASE_MARGIN_S: {given.message_lease_margin_s:g} is less than {PREFIX}REDIS_TIMEOUT_S: "
            f"{given.redis_timeout_s:g}, so a worker could settle too late; give {given.redis_timeout_s:g} or more"
        ),
    ),
)


def _field_name(name: str) -> str:
    """Return the field of a variable; what would be an argument of pydantic's (`_env_file`) stays as it is, unknown."""
    short = name.removeprefix(PREFIX).lower()
    return name if short.startswith("_") else short


def _explained(name: str, values: Mapping[str, Any]) -> str:
    """Say what is wrong with one value; never repeat one that may hold a secret."""
    variable = name if name.startswith(PREFIX) else PREFIX + name.upper()
    field = Settings.model_fields.get(name)
    if field is None:
        return environment.unknown((variable,), (PREFIX + known.upper() for known in Settings.model_fields))[0]
    extra = field.json_schema_extra
    right = extra["right"] if isinstance(extra, dict) else ""
    if (where := values.get(f"{name}_file")) is not None:
        return f"{variable}_FILE: what {str(where)!r} holds (not shown) is wrong; put {right} there"
    given = str(values[name])
    shown = "what was given (not shown)" if name in _SECRET or "@" in given else repr(given[:60])
    return f"{variable}: {shown} is wrong; give {right}"
