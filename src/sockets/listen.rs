//! Binds listeners, and says plainly why one cannot be bound.

use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, UdpSocket};

/// A listener that cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {protocol} {address}: {error}{hint}")]
pub struct ListenError {
    protocol: &'static str,
    address: SocketAddr,
    error: std::io::Error,
    hint: &'static str,
}

/// Opens a TCP listener. An IPv6 address takes IPv6 only, unless it is the wildcard.
///
/// # Errors
/// The address is in use, not ours, or needs a privilege.
pub fn tcp(address: SocketAddr) -> Result<TcpListener, ListenError> {
    open(address, Type::STREAM, Protocol::TCP)
        .and_then(|socket| {
            socket.listen(1024)?;
            TcpListener::from_std(socket.into())
        })
        .map_err(|error| explain("TCP", address, error))
}

/// Opens a UDP socket, with the same rule for IPv6.
///
/// # Errors
/// As [`tcp`].
pub fn udp(address: SocketAddr) -> Result<UdpSocket, ListenError> {
    open(address, Type::DGRAM, Protocol::UDP)
        .and_then(|socket| UdpSocket::from_std(socket.into()))
        .map_err(|error| explain("UDP", address, error))
}

fn open(address: SocketAddr, kind: Type, protocol: Protocol) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if kind == Type::STREAM {
        socket.set_reuse_address(true)?;
    }
    if address.is_ipv6() && address.port() != 0 {
        let wildcard = address.ip().is_unspecified();
        socket.set_only_v6(!wildcard || v4_is_taken(address.port(), kind, protocol))?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// A wildcard IPv6 listener also serves IPv4, unless a listener of ours or of another program already does.
fn v4_is_taken(port: u16, kind: Type, protocol: Protocol) -> bool {
    let address = SocketAddr::from(([0, 0, 0, 0], port));
    Socket::new(Domain::IPV4, kind, Some(protocol))
        .and_then(|socket| {
            if kind == Type::STREAM {
                socket.set_reuse_address(true)?;
            }
            socket.bind(&address.into())?;
            if kind == Type::STREAM {
                socket.listen(1)
            } else {
                Ok(())
            }
        })
        .is_err()
}

fn explain(protocol: &'static str, address: SocketAddr, error: std::io::Error) -> ListenError {
    let hint = match error.kind() {
        std::io::ErrorKind::Unsupported if address.is_ipv6() => {
            "; this machine has no IPv6: listen at 0.0.0.0 instead of [::]"
        }
        std::io::ErrorKind::AddrInUse => "; another program uses it",
        std::io::ErrorKind::AddrNotAvailable => "; this host does not have that address",
        std::io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need the capability CAP_NET_BIND_SERVICE"
        }
        _ => "",
    };
    ListenError {
        protocol,
        address,
        error,
        hint,
    }
}
