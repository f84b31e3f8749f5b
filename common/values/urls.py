"""What URLs of the write buffer and of the object store have in common: local folders, and secrets in messages."""

import re
from urllib.parse import unquote_plus

_USER_PASSWORD = re.compile(r"(://[^/?#@:]*):[^/?#]*@")
_UNQUOTED_PASSWORD = re.compile(r"://(?:[^?=]|\?(?=[^=]*@))*@")
"""A password with a bare / ? or # in it: not a valid URL, but still a secret. An @ after an = belongs to a value."""
_VALUE = re.compile(r"([?&;])([^=&;]*)=([^&]*)")
"""Up to the next &: what an unquoted # or ; would cut off may be a secret's end."""
_SECRET_NAME = re.compile(r"password|passphrase|secret|token|key\.pem|oauthbearer\.config|key$", re.IGNORECASE)


def local_folder(url: str) -> str | None:
    """The absolute folder of `file:///path`, without slashes at its end; None where `url` is of another form.

    Everything after file:// is used as it is: folders may be called `a#b`, `a?b` or `50%`.
    """
    scheme, _, path = url.partition("://")
    if scheme != "file" or not path.startswith("/"):
        return None
    return path.rstrip("/") or "/"


def is_secret(name: str) -> bool:
    """Whether the value of an option called `name` is not to be shown."""
    return _SECRET_NAME.search(name) is not None


def redacted(url: str) -> str:
    """`url` without the secrets in it, for logs and messages: the password of its user part, values of secret names."""
    if url.startswith("file:"):
        return url
    url = _VALUE.sub(_shown_option, url)
    shown = _USER_PASSWORD.sub(r"\1:***@", url)
    return shown if shown != url else _UNQUOTED_PASSWORD.sub("://***@", url)


def _shown_option(option: re.Match[str]) -> str:
    before, name, _ = option.groups()
    return f"{before}{name}=***" if is_secret(unquote_plus(name)) else option[0]
