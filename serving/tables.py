"""The app's own tables in the database of the summaries. `lakehouse.sql.migrations` makes them.

Times are UTC without a zone. Only the SHA-256 of a token is stored, so nobody can log in with what
the database shows.
"""

import sqlalchemy as sa

from lakehouse.sql.schema import KEY_LENGTH, ExactString, timestamp_type

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

inspections = sa.Table(
    "inspections",
    metadata,
    sa.Column("stage", ExactString(KEY_LENGTH), nullable=False),
    sa.Column("inspection_id", ExactString(KEY_LENGTH), primary_key=True),
    sa.Column("inspected_at", timestamp_type(), nullable=False),
    sa.Column("user_name", ExactString(KEY_LENGTH), nullable=False),
    sa.Column("file_name", _text(), nullable=False),
    sa.Column("sha256", ExactString(_DIGEST), nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("day", sa.Date),
    sa.Column("lot", ExactString(KEY_LENGTH)),
    sa.Column("model_version", sa.Integer, nullable=False),
    sa.Column("model", ExactString(KEY_LENGTH), nullable=False),
    sa.Column("model_sha256", ExactString(_DIGEST), nullable=False),
    sa.Column("verdict", ExactString(KEY_LENGTH), nullable=False),
    sa.Column("probability", sa.Double, nullable=False),
    sa.Column("low", sa.Double, nullable=False),
    sa.Column("high", sa.Double, nullable=False),
    sa.Column("heat", _text(), nullable=False),
    sa.Column("sampled", sa.Boolean, nullable=False),
    sa.Column("reason", _text()),
    sa.Index("ix_inspections_time", "stage", "inspected_at"),
    sa.Index("ix_inspections_photo", "stage", "sha256"),
    mysql_engine="InnoDB",
)

corrections = sa.Table(
    "corrections",
    metadata,
    sa.Column("stage", ExactString(KEY_LENGTH), nullable=False),
    sa.Column("correction_id", ExactString(KEY_LENGTH), primary_key=True),
    sa.Column("inspection_id", ExactString(KEY_LENGTH), nullable=False),
    sa.Column("sha256", ExactString(_DIGEST), nullable=False),
    sa.Column("corrected_at", timestamp_type(), nullable=False),
    sa.Column("user_name", ExactString(KEY_LENGTH), nullable=False),
    sa.Column("role", ExactString(KEY_LENGTH), nullable=False),
    sa.Column("says", ExactString(KEY_LENGTH), nullable=False),
    sa.Column("reason", _text(), nullable=False),
    sa.Column("verdict", ExactString(KEY_LENGTH), nullable=False),
    sa.Column("model", ExactString(KEY_LENGTH), nullable=False),
    sa.Column("model_version", sa.Integer, nullable=False),
    sa.Column("defect", ExactString(KEY_LENGTH)),
    sa.Index("ix_corrections_photo", "stage", "sha256"),
    mysql_engine="InnoDB",
)

agreed_labels = sa.Table(
    "agreed_labels",
    metadata,
    sa.Column("stage", ExactString(KEY_LENGTH), primary_key=True),
    sa.Column("sha256", ExactString(_DIGEST), primary_key=True),
    sa.Column("label", ExactString(KEY_LENGTH), nullable=False),
    sa.Column("agreed_at", timestamp_type(), nullable=False),
    sa.Column("first_correction", ExactString(KEY_LENGTH), nullable=False),
    sa.Column("second_correction", ExactString(KEY_LENGTH), nullable=False),
    mysql_engine="InnoDB",
)
