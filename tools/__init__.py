"""What writes the documentation: its generated parts, and the site."""
