"""Extension of Griffe: docstrings of this repository as its Google style reads them."""

import re

import griffe


class RunnableExamples(griffe.Extension):
    """`Example:` with `>>>` lines is a section of code, which Griffe knows by its plural alone."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        """Rename the section in the docstring of an object."""
        if obj.docstring:
            obj.docstring.value = re.sub(r"^(\s*)Example:$", r"\1Examples:", obj.docstring.value, flags=re.MULTILINE)

    def on_package(self, *, pkg: griffe.Module, **_: object) -> None:
        """The same in the docstring of a package, which is no member of an object."""
        self.on_object(obj=pkg)
