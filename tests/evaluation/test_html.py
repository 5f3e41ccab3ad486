import pytest
from jinja2 import UndefinedError
from markupsafe import Markup

from nlp_ft.evaluation.report.html import html_page, render

EVIL = '</title><script>alert("x")</script>\x1b[31m\u202e'
SAFE = "&lt;/title&gt;&lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt;\\x1b[31m\\u202e"


def test_a_title_is_shown_as_text_whatever_it_holds() -> None:
    page = html_page(EVIL, Markup("<h1>a</h1>"))
    assert f"<title>{SAFE}</title>" in page
    assert "<script" not in page
    assert page.count("</title>") == 1
    assert "<main>\n<h1>a</h1>\n</main>" in page


def test_a_body_that_is_no_markup_is_escaped_too() -> None:
    assert "<main>\n&lt;b&gt;\n</main>" in html_page("a", "<b>")  # type: ignore[arg-type]


def test_a_page_has_one_policy_under_which_nothing_is_fetched_or_run() -> None:
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    page = html_page("a", Markup(), style="p{color:red}", lang="de")
    assert page.count(f'<meta http-equiv="Content-Security-Policy" content="{policy}">') == 1
    assert page.startswith('<!DOCTYPE html>\n<html lang="de">\n')
    assert page.endswith("p{color:red}</style>\n</head>\n<body>\n<main>\n\n</main>\n</body>\n</html>\n")


def test_a_template_whose_value_is_forgotten_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="'title' is undefined"):
        render("evaluation/report/page.html.j2", lang="en")
