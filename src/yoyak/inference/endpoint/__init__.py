"""Asking a model behind an OpenAI-compatible API: requests, stored answers, the budget, and faults of servers."""
