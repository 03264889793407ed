"""Models that write texts for augmentation: translators, and language models here or behind an API."""
