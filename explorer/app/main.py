"""The web app that `uel explore` starts: each page is a function in `explorer.app.views`.

The folder is not named `pages`: Streamlit would run a file in such a folder as a page of its own, without this script.
"""

import streamlit as st

from explorer.app import cache, widgets
from explorer.app.elements.address import visitor
from explorer.app.elements.style_sheet import STYLE_SHEET
from explorer.app.views import analysis, district, live, map, metrics, overview

# Links of pages lie in Streamlit's header, right of the button that opens the sidebar.
NAVIGATION_STYLE = """<style>
.block-container {padding-top: 0.45rem !important;}
.stAppHeader, [data-testid="stHeader"] {background: transparent; pointer-events: none;}
.stAppHeader button, .stAppHeader [role="button"] {pointer-events: auto;}
.st-key-navigation {width: calc(100% - 3rem) !important; flex-wrap: nowrap !important; overflow-x: auto; gap: 0.35rem;
  min-height: 2.6rem; align-items: center;}
.stApp:has([data-testid="stExpandSidebarButton"]) .st-key-navigation {padding-left: 2.6rem;}
.st-key-navigation a {white-space: nowrap;}
@media (max-width: 640px) {.st-key-navigation {flex-wrap: wrap !important; row-gap: 0;}}
</style>"""


def main() -> None:
    st.set_page_config(page_title="uel explorer", layout="wide", initial_sidebar_state="auto")
    st.html(STYLE_SHEET + NAVIGATION_STYLE)
    index = cache.artefacts()
    first = {"place": index.first_tile, "run": index.run.name if index.run else ""}
    visitor().begin(st.query_params.to_dict(), **{key: name for key, name in first.items() if name})
    views = {
        "Overview": overview, "Map": map, "Live inference": live, "Metrics": metrics, "Analysis": analysis,
        "District": district,
    }  # fmt: skip
    names = {title: view.__name__.rpartition(".")[2] for title, view in views.items()}
    pages = {
        title: st.Page(view.page, title=title, url_path=names[title], default=view is overview)
        for title, view in views.items()
    }
    page = st.navigation(list(pages.values()), position="hidden")  # its own links would leave the address behind
    with st.container(key="navigation", horizontal=True):
        for title, target in pages.items():
            st.page_link(target, label=title, query_params=visitor().of(names[title]))
    with widgets.show_errors():
        page.run()


main()
