"""The page that `dvc plots show` fills. DVC's own fetches Vega from the network each time it is opened; this one carries it."""

from pathlib import Path

from yoyak.system.atomic import atomic_file

PAGE = """<!DOCTYPE html>
<html lang="ko">
<head>
    <meta charset="utf-8">
    <title>yoyak</title>
    {refresh_tag}
    <style>body { font-family: sans-serif; } table { border-spacing: 15px; }</style>
    <script>VEGA</script>
</head>
<body>
    {plot_divs}
</body>
</html>
"""


def write_page(path: Path) -> None:
    """Write DVC's HTML template with Vega, Vega-Lite and Vega-Embed inside (about 900 kB)."""
    import vl_convert

    with atomic_file(path) as file:
        file.write(
            PAGE.replace(
                "VEGA", vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;").replace("</script", "<\\/script")
            )
        )
