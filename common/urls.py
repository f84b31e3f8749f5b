"""file:// URLs, read in one way wherever they name a local folder: the write buffer's and the object store's."""


def local_folder(url: str) -> str | None:
    """The absolute folder of `file:///path`, without slashes at its end; None where `url` is of another form.

    Everything behind file:// counts letter by letter: folders may be called `a#b`, `a?b` or `50%`.
    """
    scheme, _, path = url.partition("://")
    if scheme != "file" or not path.startswith("/"):
        return None
    return path.rstrip("/") or "/"
