"""The web app that `uel explore` starts: each page is a function in `explorer.app.views`.

The folder is not named `pages`: Streamlit would run a file in such a folder as a page of its own, without this script.
"""

import streamlit as st

from explorer.app import widgets
from explorer.app.elements.style_sheet import STYLE_SHEET
from explorer.app.views import analysis, district, live, map, metrics, overview


def main() -> None:
    st.set_page_config(page_title="uel explorer", layout="wide", initial_sidebar_state="auto")
    st.html(STYLE_SHEET)
    pages = [
        st.Page(overview.page, title="Overview", url_path="overview", default=True),
        st.Page(map.page, title="Map", url_path="map"),
        st.Page(live.page, title="Live inference", url_path="live"),
        st.Page(metrics.page, title="Metrics", url_path="metrics"),
        st.Page(analysis.page, title="Analysis", url_path="analysis"),
        st.Page(district.page, title="District", url_path="district"),
    ]
    page = st.navigation(pages, position="top")
    with widgets.show_errors():
        page.run()


main()
