"""The reason of a verdict that needs a human; the kind of defect in a correction."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql
from sqlalchemy.types import TypeEngine

revision = "r0004"
down_revision = "r0003"


def upgrade() -> None:
    """Add the columns."""
    op.add_column("inspections", sa.Column("reason", _exact(sa.Text(), mysql.TEXT)))
    op.add_column("corrections", sa.Column("defect", _exact(sa.String(255), mysql.VARCHAR, 255)))


def downgrade() -> None:
    """Drop them, with the reasons and the kinds of defect."""
    with op.batch_alter_table("corrections") as table:
        table.drop_column("defect")
    with op.batch_alter_table("inspections") as table:
        table.drop_column("reason")


def _exact(
    plain: TypeEngine[str], exact: type[mysql.TEXT | mysql.VARCHAR], *length: int
) -> TypeEngine[str]:
    mariadb = getattr(op.get_bind().dialect, "is_mariadb", False)
    collation = "utf8mb4_nopad_bin" if mariadb else "utf8mb4_0900_bin"
    kind = exact(*length, charset="utf8mb4", collation=collation)
    return plain.with_variant(kind, "mysql")
