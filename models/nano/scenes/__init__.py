"""Procedural bi-temporal scenes with their truth and their language."""

SIZE = 256
