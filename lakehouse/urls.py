"""URLs that people give: no password belongs into one that others may see."""

import re

KEYS = (
    "use an ssh key, by an agent or as IdentityFile in ~/.ssh/config of the user who runs this, "
    "with its public half in authorized_keys there"
)
"""What to do instead, for a landing zone on another machine."""


def has_password(url: str) -> bool:
    """Whether there is a password between the URL's scheme and its host."""
    return re.match(r"[^:/]+://[^/@]*:[^/]*@", url) is not None


def without_password(text: str) -> str:
    """The text without what stands before the host in a URL."""
    return re.sub(r"//[^/\s]*@", "//", text)
