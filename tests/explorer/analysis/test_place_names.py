import pytest

from explorer.analysis.place_names import place_label


@pytest.mark.parametrize(
    ("record", "label"),
    [
        (("florence+0+100", "florence", [0, 100]), "Florence, 100 m north"),
        (("munich", "munich", [0, 0]), "Munich"),
        (("san_francisco-12.5+3", "san_francisco", [-12.5, 3]), "San Francisco, 12.5 m west and 3 m north"),
        (("paris-2024-05",), "Paris-2024-05"),  # no offset: a date
        (("paris-2024-05", "paris", [48.85, 2.35]), "Paris-2024-05"),  # degrees
        (("my map", "my map", ["48", None]), "My map".replace("map", "Map")),
        (("x", "x", "ab"), "X"),
        (("<b>",), "<b>"),
        (("_",), "_"),
    ],
)
def test_places_have_names_for_people(record, label):
    assert place_label(*record) == label
