"""file:// URLs, read in one way wherever they name a local folder: the write buffer's and the object store's."""

import re

_USER_PASSWORD = re.compile(r"(://[^/?#@:]*):[^/?#]*@")
_UNQUOTED_PASSWORD = re.compile(r"://(?:[^?=]|\?(?=[^=]*@))*@")
"""A password with a bare / ? or # in it: no valid URL, but nothing to show either. An @ behind an = is a value's."""
_SECRET_VALUE = re.compile(r"([?&;][^=&;]*(?:password|secret|token|key)=)[^&;#]*", re.IGNORECASE)


def local_folder(url: str) -> str | None:
    """The absolute folder of `file:///path`, without slashes at its end; None where `url` is of another form.

    Everything behind file:// counts letter by letter: folders may be called `a#b`, `a?b` or `50%`.
    """
    scheme, _, path = url.partition("://")
    if scheme != "file" or not path.startswith("/"):
        return None
    return path.rstrip("/") or "/"


def redacted(url: str) -> str:
    """`url` without the secrets in it, for logs and messages: the password of its user part, values of *password=."""
    if url.startswith("file:"):
        return url
    url = _SECRET_VALUE.sub(r"\1***", url)
    shown = _USER_PASSWORD.sub(r"\1:***@", url)
    return shown if shown != url else _UNQUOTED_PASSWORD.sub("://***@", url)
