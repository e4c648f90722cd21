from explorer.app.elements.terms import TERM_HELP, term_help, with_meaning


def test_the_longest_term_is_explained_and_texts_are_escaped():
    shown = with_meaning("<b> grid Bayes in m")
    assert shown.startswith("&lt;b&gt; <abbr title=")
    assert ">grid Bayes</abbr> in m" in shown
    assert with_meaning("<script>") == "&lt;script&gt;"


def test_part_of_a_word_is_no_term():
    assert "abbr" not in with_meaning("TAble")
    assert "abbr" in with_meaning("TA in steps")


def test_meanings_are_short_and_do_not_name_the_term_by_itself():
    for term, meaning in TERM_HELP.items():
        assert 20 < len(meaning) < 130, term
        assert term_help(term) == f"**{term}**: {meaning}"
