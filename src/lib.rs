//! stoxgate: the I/O shell of the gateway.
