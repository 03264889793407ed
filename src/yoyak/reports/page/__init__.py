"""The frame of the HTML pages: skeleton, style, charts with their tables, and the rows behind a bar. A page needs no network.

    pool = RowPool()
    bars = [ChartBar("0–9", values=[100.0], texts=["12 (100%)"], rows=pool.refer(rows), at=4.5)]
    chart = Chart("lengths", "Lengths", "What it shows.", ["train"], [0], bars, "columns", "share of rows", "range")
    write_page(path, Page("Title", "Below the title", "en", [Section("lengths", "Lengths", chart_html(chart))], pool))

Every text is escaped, and a browser that opens the page loads nothing else.
"""
