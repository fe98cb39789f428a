"""message: what RFC 5322, MIME and their relatives say about the octets of a message.

Everything here is a pure function of bytes, written for hostile mail: nothing raises on any
octets, nothing takes more than linear time, and every limit is a documented constant.

header, address, date, words     the fields of a header section and what is in them
parameters, charset              `; name=value` lists, and names of character sets
mime                             the tree of parts, as octet offsets into the content
envelope, bodystructure, wire    the IMAP wire forms that are stored with a message
parts                            the stored part tree, and where an IMAP section is
summary, preview                 all of it in one pass over one content
received, dsn                    what we write ourselves: Received fields and delivery reports

Standards  RFC 5322, 2045, 2046, 2047, 2183, 2231, 6532, 9051 §7.5.2, 5321 §4.4, 3464, 6522, 6533
"""
