"""`uel help VERB`: what a verb is for, how to call it, and what its exit code means."""

from uel.verbs.catalogue import VERB_ENTRIES

EXIT_CODES = {
    0: "success",
    1: "a part of the work failed, or differs from what was made; what is finished is kept",
    2: "a mistake that the message explains",
    130: "stopped by Ctrl-C; the same command goes on from there",
    143: "stopped by SIGTERM; the same command goes on from there",
}


def manual_page(verb: str, summary: str) -> str:
    """The parts of a verb's manual before its options, which its parser prints.

    Example:
        >>> print(manual_page("verify", "Read artefacts whole.").split("EXIT")[0].rstrip())
        NAME
            uel verify: Read artefacts whole.
        <BLANKLINE>
        EXAMPLES
            uel verify data runs  # every artefact in these folders
    """
    from uel.config import config_names  # reads YAML, which the list of verbs needs not

    sections = {
        "NAME": [f"uel {verb}: {summary}"],
        "EXAMPLES": VERB_ENTRIES[verb].examples,
        "CONFIG FILES": [f"--config {name}" for name in config_names(verb)],
        "EXIT CODES": [f"{code:<5}{meaning}" for code, meaning in EXIT_CODES.items()],
    }
    texts = ["\n".join([title, *(f"    {line}" for line in lines)]) for title, lines in sections.items() if lines]
    return "\n\n".join([*texts, "SYNOPSIS AND OPTIONS", ""])
