"""What the terms on the pages mean, in plain words: one text a term, wherever it stands."""

import html
import re

import streamlit as st

TERM_HELP = {
    "RSRP": "level of one cell at the phone, in dBm: −80 is strong, −120 is the least that a phone hears",
    "TA": "timing advance: how far the serving antenna is, in steps of some ten metres",
    "ToA": "time of arrival: the travel time of the first signal, a range to the antenna",
    "azimuth": "a compass direction, clockwise from north: 90° is east",
    "LoS": "line of sight: nothing stands between the phone and the serving antenna",
    "NLoS": "no line of sight: a building stands between the phone and the serving antenna",
    "cell": "one transmitter of a mast, with its own identity; a phone reports the level of each that it hears",
    "tier": "what the phone reports: levels alone, or with a range, or also with a direction",
    "locator": "the trained network that turns a report into a position",
    "fix": "the answer: a position with its uncertainty",
    "refined": "the fix after a second look at its likeliest places",
    "grid Bayes": "no network: every square of the map is weighed by how well it explains the report",
    "limit": "the best that any method could do with these reports: Bayes' rule with the true map and the true noise",
    "reference": "grid Bayes with the map at hand: a yardstick, but no bound, because the map is not the truth",
    "kNN": "the nearest reports of known places: fingerprinting",
    "prior median": "the middle of all places where phones can be: an answer without any report",
    "median": "half of the errors are below it",
    "p50": "the median: half of the errors are below it",
    "p67": "two of three errors are below it",
    "p95": "nineteen of twenty errors are below it",
    "r50": "the locator's median error over the limit's: 1 is the best possible",
    "r95": "the locator's 95th percentile over the limit's: 1 is the best possible",
    "credible region": "the smallest area that holds the phone with the probability that is claimed",
    "calibrated": "a 90 % region holds the phone nine times of ten",
    "nat": "a unit of uncertainty: e^n equally likely squares have n nat, so that 1 nat less means a third of them",
    "entropy": "how undecided a fix is, in nat: 0 is one square alone",
    "interval": "drawing other phones, the number would lie between its ends nine times of ten",
    "dB": "a ratio on a logarithmic scale: 3 dB is a factor of two, 10 dB a factor of ten",
    "map truth": "reports drawn from the same map that the methods get: the map has no errors",
    "path truth": "reports traced ray by ray: the map that methods get is an average and has errors, as in reality",
    "kriging": "interpolation between measured squares that weighs near ones most",
}
_LONGEST_FIRST = sorted(TERM_HELP, key=len, reverse=True)
_TERMS_PATTERN = re.compile(rf"(?<!\w)({'|'.join(map(re.escape, _LONGEST_FIRST))})(?!\w)")


def term_help(*terms: str) -> str:
    """The meaning of terms as Markdown, a line each, for the question mark beside a control.

    Example:
        >>> from explorer.app.elements.terms import term_help
        >>> print(term_help("LoS"))
        **LoS**: line of sight: nothing stands between the phone and the serving antenna
    """
    return "\n\n".join(f"**{term}**: {TERM_HELP[term]}" for term in terms)


def show_terms(*terms: str) -> None:
    """Show the meaning of a page's terms, folded: where nothing can rest on a word, as on a phone, it is read here."""
    with st.expander("What the words on this page mean"):
        st.markdown(term_help(*terms))


def with_meaning(text: str) -> str:
    """A text as HTML in which the first known term carries its meaning, shown while a pointer rests on it."""
    match = _TERMS_PATTERN.search(text)
    if match is None:
        return html.escape(text)
    term = match.group()
    before, after = text[: match.start()], text[match.end() :]
    meaning = f"<abbr title='{html.escape(TERM_HELP[term], quote=True)}'>{html.escape(term)}</abbr>"
    return html.escape(before) + meaning + html.escape(after)
