"""The HTML template of `dvc plots show`, for use without a network.

DVC's own template loads Vega from the network each time a browser opens the page. This one contains Vega.
"""

from pathlib import Path

from yoyak.system.atomic import atomic_file

# DVC replaces {refresh_tag} and {plot_divs}.
TEMPLATE = """<!DOCTYPE html>
<html lang="ko">
<head>
    <meta charset="utf-8">
    <title>yoyak</title>
    {refresh_tag}
    <style>body { font-family: sans-serif; } table { border-spacing: 15px; }</style>
    <script>VEGA_SCRIPT</script>
</head>
<body>
    {plot_divs}
</body>
</html>
"""


def write_plots_template(path: Path) -> None:
    """Write the template with Vega, Vega-Lite and Vega-Embed inside (about 900 kB)."""
    import vl_convert

    script = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    with atomic_file(path) as file:
        file.write(TEMPLATE.replace("VEGA_SCRIPT", script.replace("</script", "<\\/script")))
