"""Dialogues as text and as token ids: parsing, cleaning, prompts, tokenization."""
