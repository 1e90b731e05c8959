"""Settings: `conf/lakehouse.toml`, then `PLATELAKE_*` in the environment, then options.

An unknown key is an error in each of these places, so a misspelt key never gives the default
silently. Secrets (a password in `sql_url`) come only from the environment.
"""

import os
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from lakehouse.errors import SettingError, UsageError

ENV_PREFIX = "PLATELAKE_"
CONF_VARIABLE = f"{ENV_PREFIX}CONF"
SETTINGS_VARIABLE = f"{ENV_PREFIX}SETTINGS"
EXAMPLE_URL = "mysql+pymysql://USER:PASSWORD@HOST/DATABASE"


def conf_directory() -> Path:
    """Return the folder of `lakehouse.toml` and `stages/`: `PLATELAKE_CONF` or the project's."""
    named = os.environ.get(CONF_VARIABLE)
    return Path(named) if named else Path(__file__).resolve().parent.parent / "conf"


def settings_files() -> list[Path]:
    """Return `lakehouse.toml`, then the file that `PLATELAKE_SETTINGS` names; the later one wins.

    Raises UsageError if the named file does not exist.
    """
    files = [conf_directory() / "lakehouse.toml"]
    if named := os.environ.get(SETTINGS_VARIABLE):
        if not Path(named).is_file():
            raise UsageError(f"settings: {SETTINGS_VARIABLE}={named} is not a file")
        files.append(Path(named))
    return files


@dataclass(frozen=True)
class Here:
    """How much the driver reads and computes itself; Spark does more than that.

    The limits are high because on one machine Spark has no more processors than the driver.
    """

    bytes: int = 4 << 30
    rows: int = 200_000_000


class Settings(BaseSettings):
    """All settings of a run, except those of one stage's files."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, extra="forbid", frozen=True)

    lake: str = Field("lake", min_length=1, description="Folder or URL of the lake's tables")
    sql_url: str = Field(
        "",
        repr=False,
        description="SQLAlchemy URL of the summaries; empty: a SQLite file in the lake",
    )
    settle_seconds: float = Field(
        2.0,
        ge=0,
        allow_inf_nan=False,
        description="How long a file must keep its size and time before it is read",
    )
    after_ingest: Literal["keep", "archive", "remove"] = Field(
        "keep", description="What happens to a landed file once the lake holds it"
    )
    max_line_bytes: int = Field(1 << 20, gt=0, description="Longest line a text file may have")
    max_file_bytes: int = Field(1 << 30, gt=0, description="Largest text file that is read")
    max_day_rows: int = Field(
        40_000_000, gt=0, description="Most readings that one day of a stage may have"
    )
    max_photo_bytes: int = Field(64 << 20, gt=0, description="Largest photo file that is read")
    max_photo_pixels: int = Field(50_000_000, gt=0, description="Largest photo that is decoded")
    photos_per_commit: int = Field(2_000, gt=0, description="Photos in one commit of the lake")
    here_bytes: int = Field(
        Here.bytes, ge=0, description="Up to this many bytes of files are read in the driver"
    )
    here_rows: int = Field(
        Here.rows, ge=0, description="Up to this many rows are computed in the driver"
    )
    quarantined_share_warns: float = Field(
        0.05, ge=0, le=1, description="A run warns of a file or day with more of it in quarantine"
    )
    quarantined_share_fails: float = Field(
        0.5, ge=0, le=1, description="A run ends with exit code 3 above it; 1: never"
    )
    excursion_width: float = Field(
        2.0,
        gt=0,
        allow_inf_nan=False,
        description="Robust standard deviations from the centre to the edge of the band",
    )
    cost_escape: float = Field(
        100.0, gt=0, allow_inf_nan=False, description="Cost of a bad part that leaves the plant"
    )
    cost_scrap: float = Field(
        10.0, gt=0, allow_inf_nan=False, description="Cost of a good part that is scrapped"
    )
    cost_review: float = Field(
        1.0, gt=0, allow_inf_nan=False, description="Cost of one part that a person inspects"
    )
    mlflow_uri: str = Field(
        "",
        repr=False,
        description="MLflow tracking server; empty: a SQLite file in the lake",
    )
    app_folder: str = Field(
        "",
        description="Local folder of the app's own files: rows that wait for SQL, the last known "
        "champion; empty: `app` in the lake's folder",
    )
    sign_up: Literal["open", "invitation", "off"] = Field(
        "invitation", description="Who may make an account in the app"
    )
    upload_files: int = Field(20, gt=0, description="Most photos that are inspected at once")
    sampled_share: float = Field(
        0.05, ge=0, le=1, description="Share of the good verdicts that people also inspect"
    )
    stage_access: dict[str, list[str]] = Field(
        {}, description="Stages that a user or a role may open in the app; who is not named: all"
    )
    secure_cookies: bool = Field(
        True, description="Off: other machines may use the app by plain http"
    )
    trusted_proxies: str = Field(
        "", description="Addresses, by comma, whose X-Forwarded-For and -Proto the app trusts"
    )
    root_path: str = Field(
        "", description="Path of the app's host below which a proxy has it, such as /quality"
    )
    oidc_issuer: str = Field(
        "", description="OpenID Connect provider, such as https://accounts.google.com"
    )
    oidc_client_id: str = Field("", description="The app's name there")
    oidc_client_secret: str = Field("", repr=False, description="The app's secret there")
    verdict_webhook: str = Field(
        "", repr=False, description="URL to which the app posts each verdict; empty: to none"
    )
    verdict_webhook_secret: str = Field("", repr=False, description="Signs what is posted there")
    retention_hours: int = Field(
        168,
        ge=168,
        description="How long vacuum keeps files that no current version needs",
    )
    log_level: str = Field("info", pattern="^(debug|info|warning|error)$", description="Log level")

    @property
    def here(self) -> Here:
        """How much the driver reads and computes itself."""
        return Here(self.here_bytes, self.here_rows)

    @field_validator("sql_url")
    @classmethod
    def _sql_url(cls, url: str) -> str:
        """Check the URL; the message never shows it, because it may hold a password."""
        if url and _parsed(url) is None:
            raise ValueError(f"is not a SQLAlchemy URL such as {EXAMPLE_URL}")
        return url

    @field_validator("verdict_webhook")
    @classmethod
    def _verdict_webhook(cls, url: str) -> str:
        """Check the URL; the message never shows it, because it may hold a token."""
        if url and re.fullmatch(r"https?://[^\s@/?#]+([/?][^\s#]*)?", url) is None:
            raise ValueError("is not a URL such as https://mes.plant/verdicts, without user@")
        return url

    @field_validator("root_path")
    @classmethod
    def _root_path(cls, path: str) -> str:
        """Check the path, and leave out a slash at its end."""
        path = path.rstrip("/")
        if re.fullmatch(r"(/[A-Za-z0-9_~-][A-Za-z0-9_.~-]*)*", path) is None:
            raise ValueError("is not a path such as /quality")
        return path

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read options before the environment before files, and nothing else."""
        toml = TomlConfigSettingsSource(settings_cls, settings_files())
        return init_settings, env_settings, toml

    def mlflow_address(self) -> str:
        """Return the tracking server's URI; by default a file in the lake."""
        if self.mlflow_uri:
            return self.mlflow_uri
        need = "the models need their own tracking server"
        lake = self._local_lake("mlflow_uri", need, ", for example http://HOST:5000")
        return f"sqlite:///{lake / 'mlflow.db'}"

    def app_address(self) -> Path:
        """Return the folder of the app's own files; by default in the lake."""
        if self.app_folder:
            return Path(self.app_folder).resolve()
        return self._local_lake("app_folder", "the app needs its own local folder") / "app"

    def sql_address(self) -> str:
        """Return the SQLAlchemy URL of the summaries; by default a file in the lake."""
        if self.sql_url:
            return self.sql_url
        need = "the summaries need their own database"
        lake = self._local_lake("sql_url", need, f", for example {EXAMPLE_URL}")
        return URL.create("sqlite", database=str(lake / "summaries.db")).render_as_string()

    def _local_lake(self, setting: str, need: str, example: str = "") -> Path:
        """Return the lake's folder, for the default of a setting that is not given.

        Raises SettingError if the lake is on another machine.
        """
        if "://" in self.lake:
            raise SettingError(
                setting,
                f"the lake is at {self.lake}, so {need}: "
                f"set {ENV_PREFIX}{setting.upper()}{example}",
            )
        return Path(self.lake).resolve()


def load_settings(**options: Any) -> Settings:
    """Load the settings; the options override them, except options that are None.

    Raises UsageError that lists all faults.
    """
    _refuse_unknown_environment()
    for file in settings_files():
        _refuse_secret_in_file(file)
    try:
        return Settings(**{name: value for name, value in options.items() if value is not None})
    except ValidationError as error:
        raise UsageError("settings: " + explain(error)) from None


def explain(error: ValidationError) -> str:
    """Return all faults of a validation in one line: where, what."""
    faults = []
    for fault in error.errors():
        where = ".".join(str(part) for part in fault["loc"])
        what = "is not a known key" if fault["type"] == "extra_forbidden" else fault["msg"]
        what = what.removeprefix("Value error, ")
        faults.append(f"{where}: {what}" if where else what)
    return "; ".join(faults)


def _refuse_unknown_environment() -> None:
    known = {f"{ENV_PREFIX}{name}".upper() for name in Settings.model_fields}
    unknown = sorted(
        name
        for name in os.environ
        if name.upper().startswith(ENV_PREFIX)
        and name.upper() not in known
        and name not in (CONF_VARIABLE, SETTINGS_VARIABLE)
    )
    if unknown:
        raise UsageError(
            f"environment: {', '.join(unknown)} is not a setting; "
            f"known: {', '.join(sorted({*known, CONF_VARIABLE, SETTINGS_VARIABLE}))}"
        )


def _refuse_secret_in_file(file: Path) -> None:
    try:
        content = tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{file} is missing; it holds the default settings") from None
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} is not TOML: {error}") from None
    for name in ("oidc_client_secret", "verdict_webhook_secret"):
        if content.get(name):
            raise UsageError(f"{file} holds {name}; remove it and set {ENV_PREFIX}{name.upper()}")
    url = _parsed(content.get("sql_url"))  # An invalid URL is refused with the other settings.
    if url is not None and (url.password or SECRETS.intersection(url.query)):
        raise UsageError(
            f"{file} holds a password in sql_url; remove it and set PLATELAKE_SQL_URL instead"
        )


SECRETS = {"password", "passwd", "ssl_key_password"}
"""Parts of a URL's query that PyMySQL uses as passwords."""


def _parsed(url: Any) -> URL | None:
    try:
        return make_url(url)
    except (ArgumentError, ValueError):  # ValueError may show part of a badly written password.
        return None
