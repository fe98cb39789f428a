"""api: manage the platform over HTTP.

Domains, accounts, aliases, queues, and the trace of every message, as JSON with an OpenAPI
description; errors are problem details (RFC 9457) that name the field and the rule.

Takes      HTTP requests with an API key
Reads      everything it shows
Writes     tenant, domain, account, alias
Standards  RFC 9110, RFC 9457, RFC 6750 (bearer keys)
Failing    answers 503 while the database is away
"""
