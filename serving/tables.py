"""The app's own tables in the database of the summaries. `lakehouse.sql.migrations` makes them.

Times are UTC without a zone. Only the SHA-256 of a token is stored, so nobody can log in with what
the database shows.
"""

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from lakehouse.sql.schema import KEY_LENGTH, TYPES, ExactString, timestamp_type
from lakehouse.table import Table
from lakehouse.tables.agreed_labels import AGREED_LABELS
from lakehouse.tables.corrections import CORRECTIONS
from lakehouse.tables.inspections import INSPECTIONS

metadata = sa.MetaData()
_DIGEST = 64


def _text() -> sa.types.TypeEngine[str]:
    return ExactString()


users = sa.Table(
    "users",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("name", ExactString(KEY_LENGTH), nullable=False, unique=True),
    sa.Column("password_hash", _text()),  # Argon2id. Null: no login by password.
    # SHA-256 of the OpenID Connect provider's name for the user.
    sa.Column("subject", ExactString(_DIGEST), unique=True, index=True),
    sa.Column("role", ExactString(KEY_LENGTH), nullable=False),
    sa.Column("disabled", sa.Boolean, nullable=False),
    sa.Column("created_at", timestamp_type(), nullable=False),
    mysql_engine="InnoDB",
)

sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("token_sha256", ExactString(_DIGEST), primary_key=True),
    sa.Column("user_id", sa.Integer, sa.ForeignKey("users.id"), nullable=False, index=True),
    sa.Column("csrf", ExactString(_DIGEST), nullable=False),
    sa.Column("created_at", timestamp_type(), nullable=False),
    sa.Column("seen_at", timestamp_type(), nullable=False),
    mysql_engine="InnoDB",
)

api_tokens = sa.Table(
    "api_tokens",
    metadata,
    sa.Column("token_sha256", ExactString(_DIGEST), primary_key=True),
    sa.Column("user_id", sa.Integer, sa.ForeignKey("users.id"), nullable=False, index=True),
    sa.Column("created_at", timestamp_type(), nullable=False),
    sa.Column("name", ExactString(KEY_LENGTH)),  # Which machine has it.
    sa.Column("expires_at", timestamp_type()),  # Null: it does not end by itself.
    mysql_engine="InnoDB",
)

invitations = sa.Table(
    "invitations",
    metadata,
    sa.Column("token_sha256", ExactString(_DIGEST), primary_key=True),
    sa.Column("role", ExactString(KEY_LENGTH), nullable=False),
    sa.Column("expires_at", timestamp_type(), nullable=False),
    mysql_engine="InnoDB",
)

attempts = sa.Table(
    "login_attempts",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("name", ExactString(KEY_LENGTH), nullable=False, index=True),
    sa.Column("address", ExactString(KEY_LENGTH), nullable=False, index=True),
    sa.Column("succeeded", sa.Boolean, nullable=False),
    sa.Column("at", timestamp_type(), nullable=False),
    mysql_engine="InnoDB",
)

audit = sa.Table(
    "audit",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("at", timestamp_type(), nullable=False),
    sa.Column("user_name", _text(), nullable=False),  # As given. A user of this name may not exist.
    sa.Column("action", ExactString(KEY_LENGTH), nullable=False),
    sa.Column("object", _text()),
    sa.Column("address", _text()),
    mysql_engine="InnoDB",
)

costs = sa.Table(
    "costs",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("model", ExactString(KEY_LENGTH), nullable=False, index=True),
    sa.Column("escape", sa.Double, nullable=False),
    sa.Column("scrap", sa.Double, nullable=False),
    sa.Column("review", sa.Double, nullable=False),
    sa.Column("reason", _text(), nullable=False),
    sa.Column("set_by", ExactString(KEY_LENGTH), nullable=False),
    sa.Column("set_at", timestamp_type(), nullable=False),
    mysql_engine="InnoDB",
)

verdict_pushes = sa.Table(
    "verdict_pushes",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("inspection_id", ExactString(KEY_LENGTH), nullable=False),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("due_at", timestamp_type(), nullable=False, index=True),
    sa.Column("error", _text()),  # Of the last try.
    mysql_engine="InnoDB",
)


def _record(
    table: Table,
    *indexes: sa.Index,
    long: Collection[str] = (),
    null: Collection[str] = (),
    stage_in_key: bool = False,
) -> sa.Table:
    """Return the SQL table of what the app writes and `lakehouse.sql.pull` brings to the lake.

    Args:
        table: The declaration of its columns.
        indexes: Its indexes.
        long: Columns of text of any length; other text has at most KEY_LENGTH characters.
        null: Columns that may have no value.
        stage_in_key: Whether two stages may have rows of the same key.
    """

    def kind(name: str, declared: str) -> sa.types.TypeEngine[Any]:
        if declared != "string" or name in long:
            return TYPES[declared]()
        return ExactString(_DIGEST if name.endswith("sha256") else KEY_LENGTH)

    return sa.Table(
        table.name,
        metadata,
        sa.Column("stage", ExactString(KEY_LENGTH), primary_key=stage_in_key, nullable=False),
        *(
            sa.Column(
                column.name,
                kind(column.name, column.type),
                primary_key=column.name in table.key,
                nullable=column.name in null,
            )
            for column in table.columns
        ),
        *indexes,
        mysql_engine="InnoDB",
    )


inspections = _record(
    INSPECTIONS,
    sa.Index("ix_inspections_time", "stage", "inspected_at"),
    sa.Index("ix_inspections_photo", "stage", "sha256"),
    long=("file_name", "heat", "reason"),
    null=("day", "lot", "reason"),
)
corrections = _record(
    CORRECTIONS,
    sa.Index("ix_corrections_photo", "stage", "sha256"),
    long=("reason",),
    null=("defect",),
)
agreed_labels = _record(AGREED_LABELS, stage_in_key=True)
