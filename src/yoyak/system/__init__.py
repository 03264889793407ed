"""Errors, hardware, files, hashes, locks and resumable work: what every other package builds on."""
