"""A check whether the browser has WebGL 2: the browser answers only where it has none."""

import streamlit as st
from streamlit.components.v2 import component

COMPONENT_NAME = "uel_webgl"
NO_WEBGL_KEY = "no_webgl"  # session key, set once the browser has answered
# The context is released at once, because browsers allow few.
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

_probe = component(COMPONENT_NAME, js=WEBGL_PROBE)


def is_missing() -> bool:
    """Whether the browser has no WebGL 2; the page runs again when the browser says so."""
    _probe(key="webgl", default={"missing": False}, on_missing_change=_set_missing)
    return bool(st.session_state.get(NO_WEBGL_KEY, False))


def _set_missing() -> None:
    st.session_state[NO_WEBGL_KEY] = True
