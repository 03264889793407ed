"""`yoyak explore`: what is in a corpus, as one page and as figures for programs."""
