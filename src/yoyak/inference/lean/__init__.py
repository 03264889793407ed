"""Decoding as transformers decodes, without its copies: our own loop over the steps of an encoder-decoder on a CPU.

transformers copies the attention caches of all beams in each step, also that of the dialogue. Here the keys and values of a
dialogue are there once for all of its beams, nothing is moved when beams are reordered, and finished dialogues leave the batch
(docs/explanation/speed.md).
"""
