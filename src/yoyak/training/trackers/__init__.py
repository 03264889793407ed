"""Trackers record the metrics of a training: DVCLive's files, or a tracking service. `base.Tracker` tells how to add one."""
