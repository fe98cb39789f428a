"""The console at `/`: pages on the API's own service layer, for people.

Rendered here, with htmx only for what goes on by itself; no inline script or style, so that the
Content-Security-Policy can forbid both.
"""
