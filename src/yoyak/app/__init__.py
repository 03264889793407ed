"""The server and the web app."""
