"""What a notebook shows of an object: its facts beside a small picture."""

from base64 import b64encode
from html import escape

from uel.core.display.viewable import Viewable
from uel.errors import UelError
from uel.plots.axes import new_figure, png_bytes

THUMBNAIL_INCHES, THUMBNAIL_DPI = (3.6, 3.0), 64


def facts_and_thumbnail(thing: Viewable) -> str:
    """HTML of an object's facts and of a thumbnail of its plot; without one where there is nothing to draw."""
    rows = "".join(
        f"<tr><th style='text-align:left'>{escape(name)}</th><td style='text-align:left'>{escape(value)}</td></tr>"
        for name, value in thing.facts.items()
    )
    table = f"<table><caption><b>{type(thing).__name__}</b></caption>{rows}</table>"
    return f"<div style='display:flex;gap:1rem;align-items:center'><div>{table}</div><div>{_picture(thing)}</div></div>"


def _picture(thing: Viewable) -> str:
    figure = new_figure(*THUMBNAIL_INCHES)
    figure.set_dpi(THUMBNAIL_DPI)
    try:
        thing.plot(figure.add_subplot())
    except UelError as error:  # an object that cannot be drawn alone says what its plot needs
        return f"<i>{escape(str(error)).replace(chr(10), '<br>')}</i>"
    source = b64encode(png_bytes(figure)).decode()
    return f"<img alt='plot of the {type(thing).__name__}' src='data:image/png;base64,{source}'>"
