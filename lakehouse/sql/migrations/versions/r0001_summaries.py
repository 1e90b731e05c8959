"""The four summaries and the state of their copies.

Written out, not taken from the declarations: a revision stays what it was.
"""

from datetime import date

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql
from sqlalchemy.types import TypeEngine

revision = "r0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "mirror_state",
        _key("stage"),
        _key("table_name"),
        sa.Column("source_id", _name(), nullable=False),
        sa.Column("lake_version", sa.BigInteger, nullable=False),
        sa.Column("rows", sa.BigInteger, nullable=False),
        sa.Column("synced_at", _time(), nullable=False),
        sa.PrimaryKeyConstraint("stage", "table_name"),
        mysql_engine="InnoDB",
    )
    op.create_table(
        "lots",
        _key("stage"),
        _day(),
        _key("lot"),
        sa.Column("readings", sa.BigInteger),
        sa.Column("started_at", _time()),
        sa.Column("ended_at", _time()),
        sa.Column("label", _text()),
        sa.Column("lake_version", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("stage", "day", "lot"),
        mysql_engine="InnoDB",
    )
    op.create_table(
        "variable_days",
        _key("stage"),
        _day(),
        _key("variable"),
        sa.Column("unit", _text()),
        sa.Column("readings", sa.BigInteger),
        sa.Column("mean", sa.Double),
        sa.Column("std", sa.Double),
        sa.Column("minimum", sa.Double),
        sa.Column("maximum", sa.Double),
        sa.Column("lake_version", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("stage", "day", "variable"),
        mysql_engine="InnoDB",
    )
    op.create_table(
        "picture_days",
        _key("stage"),
        _day(),
        _key("label"),
        sa.Column("pictures", sa.BigInteger),
        sa.Column("names", sa.BigInteger),
        sa.Column("lake_version", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("stage", "day", "label"),
        mysql_engine="InnoDB",
    )
    _create_runs()


def downgrade() -> None:
    """Drop them: the lake has all of it."""
    for name in ("runs", "picture_days", "variable_days", "lots", "mirror_state"):
        op.drop_table(name)


def _create_runs() -> None:
    op.create_table(
        "runs",
        _key("stage"),
        _key("run_id"),
        sa.Column("jobs", _text()),
        sa.Column("started_at", _time()),
        sa.Column("ended_at", _time()),
        sa.Column("files_seen", sa.BigInteger),
        sa.Column("files_loaded", sa.BigInteger),
        sa.Column("files_duplicate", sa.BigInteger),
        sa.Column("files_quarantined", sa.BigInteger),
        sa.Column("files_known", sa.BigInteger),
        sa.Column("rows_read", sa.BigInteger),
        sa.Column("rows_stored", sa.BigInteger),
        sa.Column("rows_quarantined", sa.BigInteger),
        sa.Column("reconciled", sa.Boolean),
        sa.Column("lake_version", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("stage", "run_id"),
        mysql_engine="InnoDB",
    )


def _key(name: str) -> "sa.Column[str]":
    return sa.Column(name, _name(), nullable=False)


def _day() -> "sa.Column[date]":
    return sa.Column("day", sa.Date, nullable=False)


def _name() -> TypeEngine[str]:
    exact = mysql.VARCHAR(255, charset="utf8mb4", collation=_collation())
    return sa.String(255).with_variant(exact, "mysql")


def _text() -> TypeEngine[str]:
    return sa.Text().with_variant(mysql.TEXT(charset="utf8mb4", collation=_collation()), "mysql")


def _time() -> sa.DateTime:
    return sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql")


def _collation() -> str:
    mariadb = getattr(op.get_bind().dialect, "is_mariadb", False)
    return "utf8mb4_nopad_bin" if mariadb else "utf8mb4_0900_bin"
