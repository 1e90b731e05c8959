"""Settings: `conf/lakehouse.toml`, then `PLATELAKE_*` in the environment, then options.

A key that is not a setting is an error wherever it stands, so that a misspelt one is
never silently the default. Secrets (a password in `sql_url`) come only from the environment.
"""

import os
import tomllib
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from lakehouse.errors import UsageError

ENV_PREFIX = "PLATELAKE_"
CONF_VARIABLE = f"{ENV_PREFIX}CONF"


def conf_directory() -> Path:
    """The folder of `lakehouse.toml` and `stages/`: `PLATELAKE_CONF`, else the project's own."""
    named = os.environ.get(CONF_VARIABLE)
    return Path(named) if named else Path(__file__).resolve().parent.parent / "conf"


class Settings(BaseSettings):
    """Everything about a run that is not about one stage's files."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, extra="forbid", frozen=True
    )

    lake: str = Field("lake", description="Folder or URL of the lake's tables")
    sql_url: str = Field(
        "",
        description="SQLAlchemy URL of the summaries; empty: a SQLite file in the lake",
    )
    max_line_bytes: int = Field(
        1 << 20, gt=0, description="Longest line a text file may have"
    )
    max_photo_bytes: int = Field(
        64 << 20, gt=0, description="Largest photo file that is read"
    )
    max_photo_pixels: int = Field(
        50_000_000, gt=0, description="Largest photo that is decoded"
    )
    photos_per_commit: int = Field(
        2_000, gt=0, description="Photos in one commit of the lake"
    )
    excursion_width: float = Field(
        3.5,
        gt=0,
        description="Robust standard deviations from the centre that leave the band",
    )
    retention_hours: int = Field(
        168,
        ge=0,
        description="How long vacuum keeps files that no current version needs",
    )
    log_level: str = Field(
        "info", pattern="^(debug|info|warning|error)$", description="Log level"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Options before environment before file; nothing else is looked at."""
        toml = TomlConfigSettingsSource(
            settings_cls, conf_directory() / "lakehouse.toml"
        )
        return init_settings, env_settings, toml

    def sql_address(self) -> str:
        """The summaries' SQLAlchemy URL, with the embedded default filled in."""
        if self.sql_url:
            return self.sql_url
        if "://" in self.lake:
            raise UsageError(
                f"the lake is at {self.lake}, so the summaries need a database of their own: "
                "set PLATELAKE_SQL_URL, for example mysql+pymysql://USER:PASSWORD@HOST/DATABASE"
            )
        return f"sqlite:///{Path(self.lake).resolve() / 'summaries.db'}"


def load_settings(**options: Any) -> Settings:
    """Settings with the given options on top; options that are None are not given."""
    _refuse_unknown_environment()
    _refuse_secret_in_file(conf_directory() / "lakehouse.toml")
    try:
        return Settings(
            **{name: value for name, value in options.items() if value is not None}
        )
    except ValidationError as error:
        raise UsageError("settings: " + explain(error)) from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(
            f"{conf_directory() / 'lakehouse.toml'} is not TOML: {error}"
        ) from None


def explain(error: ValidationError) -> str:
    """All faults of a validation on one line: where, what."""
    faults = []
    for fault in error.errors():
        where = ".".join(str(part) for part in fault["loc"]) or "the whole"
        what = (
            "is not a known key" if fault["type"] == "extra_forbidden" else fault["msg"]
        )
        faults.append(f"{where}: {what}")
    return "; ".join(faults)


def _refuse_unknown_environment() -> None:
    known = {f"{ENV_PREFIX}{name}".upper() for name in Settings.model_fields} | {
        CONF_VARIABLE
    }
    unknown = sorted(
        name
        for name in os.environ
        if name.upper().startswith(ENV_PREFIX) and name.upper() not in known
    )
    if unknown:
        raise UsageError(
            f"environment: {', '.join(unknown)} is not a setting; known: {', '.join(sorted(known))}"
        )


def _refuse_secret_in_file(file: Path) -> None:
    if not file.is_file():
        raise UsageError(f"{file} is missing; it holds the default settings")
    try:
        url = make_url(
            tomllib.loads(file.read_text("utf-8")).get("sql_url") or "sqlite://"
        )
    except (tomllib.TOMLDecodeError, ArgumentError):
        return  # said by whoever reads the value
    if url.password:
        raise UsageError(
            f"{file} holds a password in sql_url; take it out and set PLATELAKE_SQL_URL instead"
        )
