"""A stand-in for an OCS pool and its Edge: what pidgin-sipe signs on to, and what a federated partner meets.

It is written from MS-SIPRE, MS-PRES, MS-SIP and measurements with pidgin-sipe, not from any gateway, and is strict
where the real ones are: who may connect, whether route sets come back whole, what federation lets in.
"""
