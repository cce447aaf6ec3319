"""Singer tap for the Microsoft Partner Center REST API."""
