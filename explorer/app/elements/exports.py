"""What a visitor takes away: tables as CSV, charts and maps as PNG, the link to a page."""

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import streamlit as st
from streamlit.components.v2 import component

BUTTON_CSS = """
button {font: inherit; font-size: 0.86rem; color: var(--st-text-color); background: transparent; cursor: pointer;
  border: 1px solid var(--st-border-color); border-radius: 0.5rem; padding: 0.25rem 0.7rem;}
button:hover, button:focus-visible {border-color: var(--st-primary-color); color: var(--st-primary-color);}
"""
# Without https, browsers have no clipboard for pages of other machines: the text is copied from a field instead.
COPY_LINK_SCRIPT = """
export default function ({ parentElement }) {
  const button = parentElement.querySelector("button");
  button.onclick = async () => {
    const address = window.location.href;
    try {
      await navigator.clipboard.writeText(address);
    } catch (error) {
      const field = document.createElement("textarea");
      field.value = address;
      document.body.appendChild(field);
      field.select();
      document.execCommand("copy");
      field.remove();
    }
    button.textContent = "Link copied";
    setTimeout(() => { button.textContent = "Copy link"; }, 2000);
  };
}
"""
MAP_PICTURE_SCRIPT = """
export default function ({ parentElement, data }) {
  const button = parentElement.querySelector("button");
  button.onclick = () => {
    const map = document.querySelector(`.st-key-${data.key} canvas`);
    if (!map) return;
    const picture = document.createElement("canvas");
    [picture.width, picture.height] = [map.width, map.height];
    const brush = picture.getContext("2d");
    brush.fillStyle = getComputedStyle(document.querySelector("[data-testid=stApp]")).backgroundColor;
    brush.fillRect(0, 0, picture.width, picture.height);
    brush.drawImage(map, 0, 0);
    const link = document.createElement("a");
    link.href = picture.toDataURL("image/png");
    link.download = data.name;
    link.click();
  };
}
"""
_copy_link = component("uel_copy_link", html="<button>Copy link</button>", css=BUTTON_CSS, js=COPY_LINK_SCRIPT)
_map_picture = component("uel_map_picture", html="<button>PNG</button>", css=BUTTON_CSS, js=MAP_PICTURE_SCRIPT)


def file_name(title: str, suffix: str) -> str:
    """A name of a file made of letters, digits and hyphens.

    Example:
        >>> from explorer.app.elements.exports import file_name
        >>> file_name("Errors and coverage", "csv")
        'errors-and-coverage.csv'
    """
    return f"{re.sub(r'[^a-z0-9]+', '-', title.lower()).strip('-') or 'export'}.{suffix}"


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows that all have the same keys as CSV, the keys first."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def show_csv_button(rows: Callable[[], Sequence[Mapping[str, Any]]], name: str, label: str = "CSV") -> None:
    """Show a button that saves rows as `name`.csv, made when it is pressed; no two tables of a page have one name."""
    st.download_button(
        label, lambda: csv_text(rows()), file_name(name, "csv"), "text/csv", key=f"csv-{name}", on_click="ignore",
        type="tertiary", icon=":material/download:",
    )  # fmt: skip


def chart_config(name: str) -> dict[str, Any]:
    """Plotly's configuration of a chart that can be saved as `name`.png, and has no other button."""
    return {
        "modeBarButtons": [["toImage"]],
        "displayModeBar": True,
        "displaylogo": False,
        "toImageButtonOptions": {"format": "png", "filename": name, "scale": 2},
    }


def copy_link_button() -> None:
    """Show a button that copies the page's address."""
    _copy_link(key="copy-link")


def map_picture_button(key: str, name: str) -> None:
    """Show a button that saves the 3-D map of a key as it stands, as `name`.png."""
    _map_picture(key=f"{key}-picture", data={"key": key, "name": file_name(name, "png")})
