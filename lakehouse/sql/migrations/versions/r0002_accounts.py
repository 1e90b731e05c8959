"""Accounts of the app: users, sessions, invitations, attempts to log in, audit.

Written out, not taken from the declarations: a revision stays what it was.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql
from sqlalchemy.types import TypeEngine

revision = "r0002"
down_revision = "r0001"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "users",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("name", _name(255), nullable=False, unique=True),
        sa.Column("password_hash", _text()),
        sa.Column("role", _name(255), nullable=False),
        sa.Column("disabled", sa.Boolean, nullable=False),
        sa.Column("created_at", _time(), nullable=False),
        mysql_engine="InnoDB",
    )
    op.create_table(
        "sessions",
        sa.Column("token_sha256", _name(64), primary_key=True),
        sa.Column("user_id", sa.Integer, sa.ForeignKey("users.id"), nullable=False),
        sa.Column("csrf", _name(64), nullable=False),
        sa.Column("created_at", _time(), nullable=False),
        sa.Column("seen_at", _time(), nullable=False),
        mysql_engine="InnoDB",
    )
    op.create_index("ix_sessions_user_id", "sessions", ["user_id"])
    op.create_table(
        "invitations",
        sa.Column("token_sha256", _name(64), primary_key=True),
        sa.Column("role", _name(255), nullable=False),
        sa.Column("expires_at", _time(), nullable=False),
        mysql_engine="InnoDB",
    )
    op.create_table(
        "login_attempts",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("name", _name(255), nullable=False),
        sa.Column("address", _name(255), nullable=False),
        sa.Column("succeeded", sa.Boolean, nullable=False),
        sa.Column("at", _time(), nullable=False),
        mysql_engine="InnoDB",
    )
    op.create_index("ix_login_attempts_name", "login_attempts", ["name"])
    op.create_index("ix_login_attempts_address", "login_attempts", ["address"])
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("at", _time(), nullable=False),
        sa.Column("user_name", _text(), nullable=False),
        sa.Column("action", _name(255), nullable=False),
        sa.Column("object", _text()),
        sa.Column("address", _text()),
        mysql_engine="InnoDB",
    )


def downgrade() -> None:
    """Drop them, with all accounts and the audit."""
    for name in ("audit", "login_attempts", "invitations", "sessions", "users"):
        op.drop_table(name)


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
