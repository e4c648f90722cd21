"""`uel --install-completion`: words that a shell completes after `uel`, made by tyro from the verbs' configurations."""

import io
import os
import re
from collections.abc import Sequence
from contextlib import redirect_stdout, suppress
from pathlib import Path

from uel.core.files.write_errors import explain_write_errors
from uel.core.io import replace_file
from uel.errors import UelError, quoted
from uel.verbs.catalogue import VERB_ENTRIES

SHELL_NAMES = ("bash", "zsh", "fish")


def completion_script(shell: str) -> str:
    """The script that completes verbs, options and their values in a shell.

    Raises `UelError` for a shell that is not one of `SHELL_NAMES`.
    """
    if shell not in SHELL_NAMES:
        raise UelError("no completion for this shell", got=shell or "none", do=f"name one of: {', '.join(SHELL_NAMES)}")
    from tyro.extras import subcommand_cli_from_dict

    schemas = {verb: entry.load_schema() for verb, entry in VERB_ENTRIES.items()}
    text = io.StringIO()
    with redirect_stdout(text), suppress(SystemExit):
        subcommand_cli_from_dict(schemas, prog="uel", args=("--tyro-write-completion", shell, "-"))
    # The script prints a word and its help in one line, and would take the help's second line for a word.
    return re.sub(r"^COMPLETION_SPEC = .*$", lambda line: line[0].replace(r"\n", " "), text.getvalue(), flags=re.M)


def show_completion(args: Sequence[str]) -> int:
    """Print the script of a shell, unless given the user's."""
    print(completion_script(_shell(args)), end="")
    return 0


def install_completion(args: Sequence[str]) -> int:
    """Write the script where a shell looks for it, and say what else the shell needs.

    Raises `UelError` as `completion_script` does, and where the file cannot be written.
    """
    shell, home = _shell(args), Path.home()
    script = completion_script(shell)
    data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    settings = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    file = {
        "bash": data / "bash-completion" / "completions" / "uel",
        "zsh": data / "zsh" / "site-functions" / "_uel",
        "fish": settings / "fish" / "completions" / "uel.fish",
    }[shell]
    needs = {
        "bash": f"without the package bash-completion, add to ~/.bashrc: source {quoted(file)}",
        "zsh": f"add to ~/.zshrc, before compinit: fpath+=({quoted(file.parent)})",
        "fish": "fish reads it by itself",
    }[shell]
    with explain_write_errors("the completion", file):
        file.parent.mkdir(parents=True, exist_ok=True)
        replace_file(file, script.encode())
    print(f"{file}\nopen a new shell; {needs}")
    return 0


def _shell(args: Sequence[str]) -> str:
    """The shell that is named, or the user's by the variable SHELL."""
    return " ".join(args) or Path(os.environ.get("SHELL", "")).name
