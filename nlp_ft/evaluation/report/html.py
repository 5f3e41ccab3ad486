"""HTML pages that need no other file.

They share one shell and one style; their templates escape whatever they are handed.
"""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from nlp_ft.evaluation.report.text import visible

_ENVIRONMENT = Environment(
    loader=PackageLoader("nlp_ft", "."),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_ENVIRONMENT.filters["visible"] = lambda value: visible(str(value))  # str() refuses what is undefined


def html_page(title: str, body: Markup, *, style: str = "", lang: str = "en") -> str:
    """A whole page, light or dark as the reader's system is, one column on a phone.

    Its content security policy forbids scripts, frames and requests, should anything ever get past the escaping.

    Args:
        title: shown in the browser's tab; escaped.
        body: what stands inside `<main>`, as `render` returns it. A plain string is escaped.
        style: CSS of this page alone, after the common style. It is trusted: never put data into it.
        lang: language of the page, as in BCP 47.
    """
    shell = _ENVIRONMENT.get_template("evaluation/report/page.html.j2")
    return shell.render(title=title, body=body, style=Markup(style), lang=lang)


def render(template: str, **values: object) -> Markup:
    """Render a template of the package, by its path inside `nlp_ft`.

    Every value that is no Markup is escaped.

    A template may use `|visible`, by which control characters are shown as their escapes. Raises: jinja2.UndefinedError for
    a name without a value.
    """
    return Markup(_ENVIRONMENT.get_template(template).render(values))
