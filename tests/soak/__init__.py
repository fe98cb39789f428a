"""`make soak`: many IMAP clients at random while mail is delivered and gateways are killed."""
