"""Whether the browser can draw in three dimensions: it is asked, and answers only where it cannot."""

import streamlit as st
from streamlit.components.v2 import component

COMPONENT_NAME = "uel_webgl"
NO_WEBGL_KEY = "no_webgl"  # in the session, once the browser has said so
# A context is given back at once: browsers keep few.
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
}
"""

_ask = component(COMPONENT_NAME, js=WEBGL_PROBE)


def is_missing() -> bool:
    """Whether this browser has said that it has no WebGL 2; where it has none, the page runs again."""
    _ask(key="webgl", default={"missing": False}, on_missing_change=_lost)
    return bool(st.session_state.get(NO_WEBGL_KEY, False))


def _lost() -> None:
    st.session_state[NO_WEBGL_KEY] = True
