"""The frame of the HTML pages: skeleton, style, charts with their tables, and the rows behind a bar. A page needs no network.

pool = RowPool()
chart = Chart("lengths", "Lengths", series=["train"], bars=[Bar("0–9", [100.0], ["12 (100 %)"], pool.refer(rows))], …)
page = Page("Title", language="en", sections=[Section("s1", "Lengths", chart_html(chart, words))], rows=pool)
write_page(Path("reports/page.html"), page)
"""
