"""Hook of MkDocs: the site's pages are Markdown of the repository at its own paths, and reference pages of the code.

Nothing is copied: a page of the site is read from its file, `README.md` of the root as the home page. Reference pages
are made of `__all__` of each package, so that no public object can be left out, and of the verbs' configurations.
"""

import sys
from importlib import import_module
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from notebook_pages import notebook_page

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("*.md", "*/README.md", "uel/measurement/logs/README.md", "docs/**/*.md")
ASSETS = ("explorer/pictures/*.png", "explorer/shots/*.png", "examples/*.py", "examples/*.ipynb", "docs/site/*.js")
PACKAGES = ("uel", "sim_bridge", "scenes", "training", "explorer", "configs")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """The navigation of `mkdocs.yml`, with a page for each example."""
    examples = next(part["Examples"] for part in config.nav or () if "Examples" in part)
    examples += [f"examples/{script.stem}.md" for script in example_scripts()]
    return config


def example_scripts() -> list[Path]:
    """The scripts of all examples, in order."""
    return sorted((ROOT / "examples").glob("[0-9]*.py"))


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The files of the site: the theme's, the repository's pages and pictures, and reference pages."""
    sys.path.insert(0, str(ROOT))  # names of packages are lazy: importing a package needs none of its libraries
    theme = [file for file in files if not Path(file.abs_src_path or "").is_relative_to(config.docs_dir)]
    pages = sorted({path.relative_to(ROOT).as_posix() for glob in PAGES + ASSETS for path in ROOT.glob(glob)})
    found = [File.generated(config, page, abs_src_path=str(ROOT / page)) for page in pages]
    made = {f"docs/reference/{package}.md": package_page(package) for package in PACKAGES}
    made["docs/reference/command_line.md"] = command_line_page()
    made |= {f"examples/{script.stem}.md": notebook_page(script) for script in example_scripts()}
    return Files([*theme, *found, *(File.generated(config, page, content=text) for page, text in made.items())])


def package_page(package: str) -> str:
    """All public names of a package, in the order of its `__all__`."""
    names = import_module(package).__all__
    parts = [f"# {package}", directive(package, members="false", show_root_heading="false")]
    return "\n\n".join([*parts, *(directive(f"{package}.{name}") for name in names)])


def command_line_page() -> str:
    """Every verb with its examples, and its options as the fields of its configuration."""
    from uel.verbs.catalogue import VERB_ENTRIES

    parts = [
        "# Command line",
        "`uel help VERB` prints the manual of a verb. An option `--tracing.max-depth` is the field `max_depth` of the "
        "field `tracing`; each configuration below names the class of such a field. `uel --install-completion` lets "
        "the shell complete verbs, options and values.",
    ]
    for verb, entry in VERB_ENTRIES.items():
        parts += [f"## uel {verb}", "\n".join(["```sh", *entry.examples, "```"])]
        parts.append(directive(entry.schema.replace(":", "."), heading_level="3"))
    return "\n\n".join(parts)


def directive(name: str, **options: str) -> str:
    """mkdocstrings' line for an object, with options."""
    lines = [f"::: {name}", *(["    options:"] if options else [])]
    return "\n".join([*lines, *(f"      {option}: {value}" for option, value in options.items())])
