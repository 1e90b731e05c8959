"""The name of a machine's token, and when it ends."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "r0005"
down_revision = "r0004"


def upgrade() -> None:
    """Add the columns."""
    mariadb = getattr(op.get_bind().dialect, "is_mariadb", False)
    collation = "utf8mb4_nopad_bin" if mariadb else "utf8mb4_0900_bin"
    kind = mysql.VARCHAR(255, charset="utf8mb4", collation=collation)
    op.add_column("api_tokens", sa.Column("name", sa.String(255).with_variant(kind, "mysql")))
    moment = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql")
    op.add_column("api_tokens", sa.Column("expires_at", moment))


def downgrade() -> None:
    """Drop them, with the names and the ends."""
    with op.batch_alter_table("api_tokens") as table:
        table.drop_column("expires_at")
        table.drop_column("name")
