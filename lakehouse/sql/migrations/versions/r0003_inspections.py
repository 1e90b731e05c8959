"""Inspected photos, corrections, agreed labels; tokens of machines; users of a provider.

Written out, not taken from the declarations: a revision stays what it was.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql
from sqlalchemy.types import TypeEngine

revision = "r0003"
down_revision = "r0002"


def upgrade() -> None:
    """Make the tables."""
    op.add_column("users", sa.Column("subject", _name(64)))
    op.create_index("ix_users_subject", "users", ["subject"], unique=True)
    op.create_table(
        "api_tokens",
        sa.Column("token_sha256", _name(64), primary_key=True),
        sa.Column("user_id", sa.Integer, sa.ForeignKey("users.id"), nullable=False),
        sa.Column("created_at", _time(), nullable=False),
        mysql_engine="InnoDB",
    )
    op.create_index("ix_api_tokens_user_id", "api_tokens", ["user_id"])
    _create_inspections()
    _create_corrections()
    op.create_table(
        "agreed_labels",
        sa.Column("stage", _name(255), primary_key=True),
        sa.Column("sha256", _name(64), primary_key=True),
        sa.Column("label", _name(255), nullable=False),
        sa.Column("agreed_at", _time(), nullable=False),
        sa.Column("first_correction", _name(255), nullable=False),
        sa.Column("second_correction", _name(255), nullable=False),
        mysql_engine="InnoDB",
    )


def downgrade() -> None:
    """Drop them, with all that people said of photos."""
    for name in ("agreed_labels", "corrections", "inspections", "api_tokens"):
        op.drop_table(name)
    op.drop_index("ix_users_subject", "users")
    op.drop_column("users", "subject")


def _create_inspections() -> None:
    op.create_table(
        "inspections",
        sa.Column("stage", _name(255), nullable=False),
        sa.Column("inspection_id", _name(255), primary_key=True),
        sa.Column("inspected_at", _time(), nullable=False),
        sa.Column("user_name", _name(255), nullable=False),
        sa.Column("file_name", _text(), nullable=False),
        sa.Column("sha256", _name(64), nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("day", sa.Date),
        sa.Column("lot", _name(255)),
        sa.Column("model_version", sa.Integer, nullable=False),
        sa.Column("model", _name(255), nullable=False),
        sa.Column("model_sha256", _name(64), nullable=False),
        sa.Column("verdict", _name(255), nullable=False),
        sa.Column("probability", sa.Double, nullable=False),
        sa.Column("low", sa.Double, nullable=False),
        sa.Column("high", sa.Double, nullable=False),
        sa.Column("heat", _text(), nullable=False),
        sa.Column("sampled", sa.Boolean, nullable=False),
        mysql_engine="InnoDB",
    )
    op.create_index("ix_inspections_time", "inspections", ["stage", "inspected_at"])
    op.create_index("ix_inspections_photo", "inspections", ["stage", "sha256"])


def _create_corrections() -> None:
    op.create_table(
        "corrections",
        sa.Column("stage", _name(255), nullable=False),
        sa.Column("correction_id", _name(255), primary_key=True),
        sa.Column("inspection_id", _name(255), nullable=False),
        sa.Column("sha256", _name(64), nullable=False),
        sa.Column("corrected_at", _time(), nullable=False),
        sa.Column("user_name", _name(255), nullable=False),
        sa.Column("role", _name(255), nullable=False),
        sa.Column("says", _name(255), nullable=False),
        sa.Column("reason", _text(), nullable=False),
        sa.Column("verdict", _name(255), nullable=False),
        sa.Column("model", _name(255), nullable=False),
        sa.Column("model_version", sa.Integer, nullable=False),
        mysql_engine="InnoDB",
    )
    op.create_index("ix_corrections_photo", "corrections", ["stage", "sha256"])


def _name(length: int) -> TypeEngine[str]:
    exact = mysql.VARCHAR(length, charset="utf8mb4", collation=_collation())
    return sa.String(length).with_variant(exact, "mysql")


def _text() -> TypeEngine[str]:
    return sa.Text().with_variant(mysql.TEXT(charset="utf8mb4", collation=_collation()), "mysql")


def _time() -> sa.DateTime:
    return sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql")


def _collation() -> str:
    mariadb = getattr(op.get_bind().dialect, "is_mariadb", False)
    return "utf8mb4_nopad_bin" if mariadb else "utf8mb4_0900_bin"
