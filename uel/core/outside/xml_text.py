"""XML from outside: bounded in size and nesting, without a document type (and so without entities)."""

import io
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from uel.core.outside.json_text import MAX_NESTING
from uel.core.outside.whole_files import MAX_METADATA_BYTES, read_whole
from uel.errors import UelError


def read_xml(file: Path, *, max_bytes: int = MAX_METADATA_BYTES) -> Element:
    """The root of an XML file. Raises `UelError` as `parse_xml`, and for one that is missing or too large."""
    return parse_xml(read_whole(file, max_bytes=max_bytes), str(file))


def parse_xml(content: bytes, name: str) -> Element:
    """The root of an XML text; `name` is that of the text in messages.

    Raises `UelError` for a text that is no XML, declares a document type, or is nested more than 64 times.

    Example:
        >>> from uel.core.outside.xml_text import parse_xml
        >>> parse_xml(b"<scene version='2.1.0'/>", "scene.xml").tag
        'scene'
    """
    if (
        b"<!DOCTYPE" in content
        or "<!DOCTYPE".encode("utf-16-le") in content
        or "<!DOCTYPE".encode("utf-16-be") in content
    ):
        raise UelError(f"{name} declares a document type", got="<!DOCTYPE", do="remove it: it is not needed")
    nesting, root = 0, None
    try:
        for event, element in ElementTree.iterparse(io.BytesIO(content), events=("start", "end")):
            nesting += 1 if event == "start" else -1
            root = element if root is None else root
            if nesting > MAX_NESTING:
                raise UelError(f"{name} is nested too deeply", got=element.tag[:80], do="give a flatter file")
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        if isinstance(error, UelError):
            raise
        raise UelError(f"{name} is no XML", got=error, do="copy the file again, or make it again") from error
    assert root is not None, "the parser refuses an empty text"
    return root
