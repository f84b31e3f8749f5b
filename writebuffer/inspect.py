"""The files of a write buffer, looked at as files: the door for `penstock log`.

Only the file backend has any. What it offers here reads beside a running cluster, and neither locks nor changes
anything. Choosing a backend to work with stays connect.py's.
"""

from pathlib import Path

from common.values.errors import Misconfigured
from common.values.urls import local_folder
from writebuffer.errors import BufferNotFound
from writebuffer.file import FileBackend
from writebuffer.file.format import Place
from writebuffer.file.reader import FileReader
from writebuffer.file.survey import Holder, LogSurvey, SegmentSurvey, survey
from writebuffer.file.verify import Problem, Verification

__all__ = [
    "FileReader",
    "Holder",
    "LogSurvey",
    "Place",
    "Problem",
    "SegmentSurvey",
    "Verification",
    "open_folder",
    "survey",
]

_NAME = "buffer.json"


def open_folder(where: str) -> tuple[Path, FileReader]:
    """The folder of the log that `where` names, and a reader of it.

    where: the log's own folder, the data folder that has it as log/, or its file:// URL. Raises BufferNotFound with
    what is there instead, Misconfigured, Unavailable, DataCorrupt.
    """
    folder = _folder(where)
    try:
        found = next((one for one in (folder, folder / "log") if (one / _NAME).exists()), None)
    except OSError as error:  # of a folder above
        raise Misconfigured(f"{folder}: {error.strerror}; run this as a user who may read it") from None
    if found is None:
        raise BufferNotFound(f"{folder}: {_instead(folder)}", folder=str(folder))
    return found, FileBackend(str(found)).open_reader()


def _folder(where: str) -> Path:
    if "://" not in where:
        return Path(where).absolute()
    path = local_folder(where)
    if path is None:
        raise Misconfigured(
            f"{where}: not a folder; give that of a file write buffer, or file:///absolute/path. Buffers on a server "
            "have no files to look at here"
        )
    return Path(path)


def _instead(folder: Path) -> str:
    if not folder.exists():
        return "there is no such folder"
    if not folder.is_dir():
        return "a file; give the folder of the write buffer, the one with buffer.json"
    above = next((one for one in (folder.parent, folder.parent / "log") if (one / _NAME).exists()), None)
    if above and folder.name.isdigit():
        return f"one sequencer's folder; give {above} and --sequencer {int(folder.name)}"
    if above:
        return f"not the write buffer itself, which is {above}"
    return "not a file write buffer: neither it nor log/ in it has a buffer.json"
