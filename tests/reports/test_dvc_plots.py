"""The template of `dvc plots show`."""

import re
from pathlib import Path

from yoyak.reports.dvc_plots import write_plots_template


def test_the_template_contains_vega_and_needs_no_network(tmp_path: Path) -> None:
    write_plots_template(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert not re.search(r"<(script|link)[^>]* (src|href)=", page)
    assert "window.vegaEmbed" in page and len(page) > 500_000
    assert page.count("</script>") == 1, "the script does not end early"
    assert "{plot_divs}" in page and "{refresh_tag}" in page, "DVC fills these"
