//! XMPP federation as sans-IO machines.
