"""Verdicts that wait to be sent to the plant's webhook."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql
from sqlalchemy.types import TypeEngine

revision = "r0007"
down_revision = "r0006"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "verdict_pushes",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("inspection_id", _exact(sa.String(255), mysql.VARCHAR, 255), nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("due_at", _time(), nullable=False),
        sa.Column("error", _exact(sa.Text(), mysql.TEXT)),
        mysql_engine="InnoDB",
    )
    op.create_index("ix_verdict_pushes_due_at", "verdict_pushes", ["due_at"])


def downgrade() -> None:
    """Drop it; what waits is not sent."""
    op.drop_table("verdict_pushes")


def _exact(
    plain: TypeEngine[str], exact: type[mysql.TEXT | mysql.VARCHAR], *length: int
) -> TypeEngine[str]:
    mariadb = getattr(op.get_bind().dialect, "is_mariadb", False)
    collation = "utf8mb4_nopad_bin" if mariadb else "utf8mb4_0900_bin"
    kind = exact(*length, charset="utf8mb4", collation=collation)
    return plain.with_variant(kind, "mysql")


def _time() -> sa.DateTime:
    return sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql")
