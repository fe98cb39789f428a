"""api: manage the platform over HTTP.

Tenants, domains, accounts, aliases, keys, import, quarantine, queues, parked jobs, doctor, audit,
and the trace of every message, as JSON with an OpenAPI description (/v1) and as pages for people
(/).  Errors are problem details (RFC 9457) that name the field and the rule.  What may be seen
and done is decided in `libs.common.admin`.

Takes      HTTP requests with an API key or the cookie of a session
Reads      everything it shows
Writes     tenant, domain, account, alias, api_key, session, audit, idempotency, parked, outcome
Standards  RFC 9110, RFC 9457, RFC 6750 (bearer keys), RFC 8461 §3.2
Failing    answers 503 while the database is away
"""
