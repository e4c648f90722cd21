"""What differs between two keys, by dotted names."""

from uel.core.key_differences import SHOWN_DIFFERENCES, difference_text, key_differences, least_differences


def test_entries_are_named_by_their_way_through_the_key():
    old = {"tracing": {"map_rays": 2_000_000, "depth": 3}, "sites": [{"height": 20.0}, {"height": 25.0}]}
    new = {"tracing": {"map_rays": 20_000_000, "depth": 3}, "sites": [{"height": 20.0}, {"height": 30.0}], "seed": 1}
    assert key_differences(old, new) == {
        "tracing.map_rays": ("2000000", "20000000"),
        "sites.1.height": ("25.0", "30.0"),
        "seed": ("nothing", "1"),
    }


def test_equal_keys_differ_in_nothing_also_where_one_was_stored_as_json():
    assert key_differences({"pair": (1, 2), "empty": {}}, {"pair": [1, 2], "empty": {}}) == {}


def test_a_line_shows_some_differences_and_counts_the_others():
    differences = {f"field{n}": ("1", "2") for n in range(SHOWN_DIFFERENCES + 3)}
    text = difference_text(differences)
    assert text.count("→") == SHOWN_DIFFERENCES
    assert text.endswith("and 3 more")
    assert len(difference_text({"points": ("1" * 1000, "2")})) < 100


def test_the_nearest_key_is_compared():
    new = {"pixel": 4.0, "seed": 1, "rays": 10}
    keys = [{"pixel": 8.0, "seed": 2, "rays": 10}, {"pixel": 4.0, "seed": 1, "rays": 5}]
    assert least_differences(keys, new) == {"rays": ("5", "10")}
    assert least_differences([], new) == {}
