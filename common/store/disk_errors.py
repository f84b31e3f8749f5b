"""What the operating system's errors mean for whoever has to act, in plain words."""

import errno
import os

_TRY_AGAIN = "penstock tries again by itself"
_WHAT_TO_DO = {
    errno.ENOSPC: f"the disk is full; free some space there; {_TRY_AGAIN}",
    errno.EDQUOT: f"there is no space left for this user: raise the quota or free some space; {_TRY_AGAIN}",
    errno.EROFS: "it is mounted read-only: mount it writable (where it was writable before, the kernel's log says why)",
    errno.EIO: "the disk failed: read the kernel's log and check the disk before you use it again",
    errno.ESTALE: "the server of this network folder does not know it any more: mount it again",
    errno.EMFILE: "this process has too many open files: raise its limit (ulimit -n, LimitNOFILE)",
    errno.ENFILE: "this machine has too many open files: raise its limit (fs.file-max)",
    errno.ENOENT: "a folder is missing: if it was removed or moved, bring it back",
    errno.ENOTDIR: "a file is in the place of a folder: move it away",
}
_PERMISSION = (errno.EACCES, errno.EPERM)
_SETTINGS = (*_PERMISSION, errno.EROFS)


def plain(error: OSError, place: str) -> str:
    """The cause, `place` (a path of this machine), and what to do: one sentence without a full stop."""
    cause = os.strerror(error.errno) if error.errno else str(error)
    cause = cause[:1].lower() + cause[1:]
    if error.errno in _PERMISSION:
        return (
            f"{cause} in {error.filename or place}; give this user (uid {os.geteuid()}) the right to read and write "
            "the "
            f"folder {place}, or choose another folder"
        )
    what_to_do = _WHAT_TO_DO.get(error.errno or 0)
    return f"{cause} in {place}" + (f"; {what_to_do}" if what_to_do else "")


def is_full(error: OSError) -> bool:
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


NO_FOLDER_TO_BE = (FileNotFoundError, NotADirectoryError, FileExistsError)
"""A folder cannot be made with those above it: a file is in the place of one, or /proc makes none."""


def no_folder_to_be(url: str, error: OSError, settings: str) -> str:
    """What is wrong with `url`, which the settings name, where making its folder for the first time raised `error`."""
    cause = os.strerror(error.errno or 0)
    return f"{url}: its folder cannot be made ({cause}); give one that this user may write ({settings})"


def is_setting(error: BaseException | None) -> bool:
    """Whether it ends a process at its start: no retry gives this user a permission."""
    return isinstance(error, OSError) and error.errno in _SETTINGS
