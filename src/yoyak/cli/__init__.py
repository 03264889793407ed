"""The commands of `yoyak`."""
