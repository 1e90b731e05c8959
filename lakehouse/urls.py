"""URLs that people give. They must not hold a password, because others may see them."""

import re

KEYS = (
    "use an ssh key, by an agent or as IdentityFile in ~/.ssh/config of the user who runs this, "
    "and add its public key to authorized_keys on that machine"
)
"""The advice for a landing zone on another machine."""


def has_password(url: str) -> bool:
    """Return whether the URL has a password between its scheme and its host."""
    return re.match(r"[^:/]+://[^/@]*:[^/]*@", url) is not None


def without_password(text: str) -> str:
    """Remove the user and password before the host from each URL in the text."""
    return re.sub(r"//[^/\s]*@", "//", text)
