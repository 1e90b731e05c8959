"""The costs that an engineer saves in the app, one row a change."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql
from sqlalchemy.types import TypeEngine

revision = "r0006"
down_revision = "r0005"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "costs",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("model", _exact(sa.String(255), mysql.VARCHAR, 255), nullable=False),
        sa.Column("escape", sa.Double, nullable=False),
        sa.Column("scrap", sa.Double, nullable=False),
        sa.Column("review", sa.Double, nullable=False),
        sa.Column("reason", _exact(sa.Text(), mysql.TEXT), nullable=False),
        sa.Column("set_by", _exact(sa.String(255), mysql.VARCHAR, 255), nullable=False),
        sa.Column("set_at", _time(), nullable=False),
        mysql_engine="InnoDB",
    )
    op.create_index("ix_costs_model", "costs", ["model"])


def downgrade() -> None:
    """Drop it, with all costs."""
    op.drop_table("costs")


def _exact(
    plain: TypeEngine[str], exact: type[mysql.TEXT | mysql.VARCHAR], *length: int
) -> TypeEngine[str]:
    mariadb = getattr(op.get_bind().dialect, "is_mariadb", False)
    collation = "utf8mb4_nopad_bin" if mariadb else "utf8mb4_0900_bin"
    kind = exact(*length, charset="utf8mb4", collation=collation)
    return plain.with_variant(kind, "mysql")


def _time() -> sa.DateTime:
    return sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql")
