"""Trackers: a search as people's dashboards show it. They only watch; what they miss, or break, changes no search."""
