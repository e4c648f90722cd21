"""The pages, to be started by `uel explore`: each is a function in `screens`, and draws what pure functions return."""

import streamlit as st

from explorer import ui
from explorer.screens import analysis, city, live, metrics, overview


def main() -> None:
    st.set_page_config(page_title="uel explorer", layout="wide", initial_sidebar_state="expanded")
    st.html(ui.STYLE_SHEET)
    pages = [
        st.Page(overview.page, title="Overview", url_path="overview", default=True),
        st.Page(city.page, title="Map", url_path="map"),
        st.Page(live.page, title="Live inference", url_path="live"),
        st.Page(metrics.page, title="Metrics", url_path="metrics"),
        st.Page(analysis.page, title="Analysis", url_path="analysis"),
    ]
    page = st.navigation(pages, position="top")
    with ui.told_errors():
        page.run()


main()
