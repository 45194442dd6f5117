"""What everything stands on: relations and tasks (`labels`), the one user error (`errors`), places, and files that
are never seen half-written (`files`). Imports nothing of the package.
"""
