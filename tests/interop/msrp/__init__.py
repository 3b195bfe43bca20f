"""A scripted MSRP user agent for the interop laboratory, written from RFC 4975 and the RFCs about it alone.

Nothing here was taken from the gateway, and no parser is shared with it. What the gateway sends is held to the rules of
the RFC; each breach is a fault, which fails the case.
"""
