"""The pages of runs: one run with every dev dialogue (`yoyak report`), and runs beside each other (`yoyak compare --html`).

    facts = collect_run(Run.find(root, "workspace"))       # reads files; what is missing is named, nothing fails
    page = run_page(facts, explain_rows(facts.rows), "en")  # pure: data to a Page
    write_page(path, page)

What reads files, what computes and what writes HTML are apart, so that a server can use each part alone.
"""
