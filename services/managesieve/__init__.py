"""managesieve: let account owners keep their Sieve scripts.

Scripts are checked before they are stored, and what is changed here is changed by the same code,
and noted in the same audit, as through the API.

Takes      ManageSieve with STARTTLS
Reads      account, sieve_script
Writes     sieve_script, account (`scripts`), audit
Standards  RFC 5804, with SASL as IMAP has it
Failing    answers NO (TRYLATER); the client tries again
"""
