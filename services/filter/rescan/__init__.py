"""Re-scan: delivered mail is checked again by the engines, and moved when they say otherwise now.

`run` keeps how far a re-scan is, `decide` says what follows for each copy, `act` does it in one
transaction with the progress, and `rescanner` goes through the mail below the live traffic.
"""
