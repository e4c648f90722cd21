"""What a visitor chose stays: in the address, in links, over pages, and when the browser goes back."""

import pytest

pytest.importorskip("streamlit.testing.v1")
from streamlit.testing.v1 import AppTest

from explorer.app.elements.address import Address

# Two pages of one application; the word in the session says which is shown.
PAGES = """
import streamlit as st
from explorer.app.elements import controls
from explorer.app.elements.address import addressed, link_to, visitor

def shown(name):
    def page():
        controls.select_option("Place", "place", ["florence", "munich"])
        controls.select_option("Layer", "layer", ["rsrp", "sinr"])
        controls.slider("Number", "number", 0, 9, 0)
        controls.toggle("Tracks", "tracks", False)
        controls.optional_number("East", "x", -50.0, 50.0, 1.0)
        controls.select_many("Runs", "runs", ["a", "b", "c"], ["a"])
        if st.session_state.get("layer") == "sinr":
            controls.integer("Walk", "walk", 0, 99, 0)
        st.markdown(link_to("live", number=3))
    page.__module__ = f"views.{name}"
    return addressed(page)

shown(st.session_state.get("shown", "map"))()
st.markdown(str(visitor().of("map")))
"""


def opened(**link: str) -> AppTest:
    test = AppTest.from_string(PAGES)
    for key, value in link.items():
        test.query_params[key] = value
    return test.run()


def asked(test: AppTest) -> dict[str, str]:
    """The address after a run."""
    return {key: value[-1] if isinstance(value, list) else value for key, value in test.query_params.items()}


def follow(test: AppTest, page: str = "map", **link: str) -> AppTest:
    """Another address in the same session: a link, or the browser's Back."""
    test.query_params.clear()
    for key, value in link.items():
        test.query_params[key] = value
    test.session_state["shown"] = page
    return test.run()


def test_an_address_always_names_the_place_and_what_was_chosen() -> None:
    test = opened()
    assert asked(test) == {"place": "florence"}
    test.selectbox(key="layer").set_value("sinr").run()
    test.slider(key="number").set_value(4).run()
    test.toggle(key="tracks").set_value(True).run()
    test.number_input(key="x").set_value(-12.5).run()
    test.multiselect(key="runs").set_value(["b", "c"]).run()
    chosen = {"layer": "sinr", "number": "4", "tracks": "true", "x": "-12.5", "runs": "b,c"}
    assert asked(test) == {"place": "florence", **chosen}
    test.slider(key="number").set_value(0).run()
    assert "number" not in asked(test)


def test_a_link_opens_what_it_names() -> None:
    test = opened(place="munich", layer="sinr", number="7", tracks="true", x="3", runs="c", walk="12")
    assert not test.exception
    assert not test.warning
    assert test.selectbox(key="place").value == "munich"
    assert (test.slider(key="number").value, test.number_input(key="x").value) == (7, 3.0)
    assert (test.toggle(key="tracks").value, test.multiselect(key="runs").value) == (True, ["c"])
    assert test.number_input(key="walk").value == 12
    assert "live?place=munich&number=3" in test.markdown[0].value


@pytest.mark.parametrize(
    ("link", "word"),
    [
        ({"place": "atlantis"}, "atlantis"),
        ({"layer": "gold"}, "gold"),
        ({"number": "99"}, "99"),
        ({"x": "far"}, "far"),
        ({"walk": "3"}, "does not know"),
        ({"colour": "red"}, "does not know"),
    ],
)
def test_what_an_address_names_and_the_page_lacks_is_said(link: dict[str, str], word: str) -> None:
    test = opened(**link)
    assert not test.exception
    assert word in test.warning[0].value
    assert asked(test) == {"place": "florence"}
    test.selectbox(key="layer").set_value("sinr").run()
    assert not {"colour"} & set(asked(test))


def test_back_shows_what_was_there_before() -> None:
    test = opened(place="munich", number="2")
    before = asked(test)
    test.slider(key="number").set_value(5).run()
    test.selectbox(key="layer").set_value("sinr").run()
    follow(test, **before)
    assert (test.slider(key="number").value, test.selectbox(key="layer").value) == (2, "rsrp")
    assert asked(test) == before


def test_a_page_is_found_as_it_was_left() -> None:
    test = opened(number="6", layer="sinr")
    own = eval(test.markdown[-1].value)  # the link of the navigation
    follow(test, "analysis", place="florence")
    assert test.slider(key="number").value == 0  # the other page has its own
    test.selectbox(key="place").set_value("munich").run()
    assert eval(test.markdown[-1].value) == {**own, "place": "munich"}
    follow(test, **eval(test.markdown[-1].value))
    assert (test.slider(key="number").value, test.selectbox(key="place").value) == (6, "munich")
    assert not test.warning


def test_links_of_pages_name_the_first_place_before_it_was_shown() -> None:
    address = Address()
    address.begin({}, place="florence", run="demo")
    assert address.of("map") == {"place": "florence", "run": "demo"}
    address.begin({"place": "munich"}, place="florence", run="demo")
    assert address.of("live") == {"place": "munich", "run": "demo"}
