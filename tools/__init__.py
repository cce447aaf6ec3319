"""Generates the documentation: the generated parts of its pages, and the site."""
