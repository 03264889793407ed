"""The metrics of the score. To add one: write a module here (`base.Metric` says how) and add its name to METRICS."""

METRICS = ("rouge", "facts", "surface")
