"""The lowest package: errors, hardware, text files, checksums, locks and resumable work. All other packages use it."""
