"""What the browser is: whether it has WebGL 2, and how large its window is. It answers only where that matters."""

from dataclasses import dataclass

import streamlit as st
from streamlit.components.v2 import component

COMPONENT_NAME = "uel_webgl"
NO_WEBGL_KEY, WINDOW_KEY = "no_webgl", "window"  # session keys, set once the browser has answered
# The context is released at once, because browsers allow few. Maps fit a window of 1440 × 900 pixels as they are.
WEBGL_PROBE = """
export default function ({ setStateValue }) {
  let drawn = null;
  try {
    drawn = document.createElement("canvas").getContext("webgl2");
  } catch (error) {
    drawn = null;
  }
  if (drawn) drawn.getExtension("WEBGL_lose_context")?.loseContext();
  else setStateValue("missing", true);
  const narrow = window.innerWidth < 1000;
  const room = Math.min(narrow ? window.innerWidth : window.innerWidth - 700, window.innerHeight - 120);
  const zoom = Math.round(2 * Math.log2(room / (narrow ? 760 : 740))) / 2;
  if (zoom || narrow) setStateValue("window", [zoom, narrow]);
}
"""

_probe = component(COMPONENT_NAME, js=WEBGL_PROBE)


@dataclass(frozen=True)
class BrowserWindow:
    """The window that maps fit in."""

    zoom_step: float = 0.0
    """doublings of scale"""
    is_narrow: bool = False
    """panels stand below maps"""


def is_missing() -> bool:
    """Whether the browser has no WebGL 2; the page runs again when the browser says so."""
    default = {"missing": False, "window": [0.0, False]}
    _probe(key="webgl", default=default, on_missing_change=_set_missing, on_window_change=_set_window)
    return bool(st.session_state.get(NO_WEBGL_KEY, False))


def window() -> BrowserWindow:
    """The browser's window, as far as it has answered."""
    return st.session_state.get(WINDOW_KEY, BrowserWindow())


def _set_missing() -> None:
    st.session_state[NO_WEBGL_KEY] = True


def _set_window() -> None:
    zoom, is_narrow = st.session_state["webgl"].window
    st.session_state[WINDOW_KEY] = BrowserWindow(float(zoom), bool(is_narrow))
