"""A stand-in for an OCS pool and its Edge: what pidgin-sipe signs on to, and what a federated partner meets.

It is written from what the protocol's users are known to need (MS-SIPRE, MS-PRES, MS-SIP and measurements), not from
the gateway, and is strict where the real ones are: who may connect, whose route sets are whole, what federation lets in.
"""
