//! The loop that accepts connections, for every listener.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use super::admission::{Admission, Admitted};
use crate::net::warnings::{Kind, Warnings};

/// How long to wait when the system gives no connection, as for want of files.
const PAUSE: Duration = Duration::from_millis(200);

/// Accepts for ever, and gives each connection that is admitted to a task of its own. `protocol` is for the log.
pub(super) async fn accept<Served>(
    listener: TcpListener,
    (protocol, admission, warnings): (&'static str, Arc<Admission>, Arc<Warnings>),
    serve: impl Fn(TcpStream, SocketAddr, Admitted) -> Served,
) where
    Served: Future<Output = ()> + Send + 'static,
{
    let local = listener.local_addr().ok();
    loop {
        let (stream, remote) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                if let Some(address) = local
                    && let Some(unsaid) = warnings.ask(Kind::Accept, address.ip())
                {
                    tracing::warn!(
                        protocol, listener = %address, %error, unsaid,
                        "cannot accept connections for the moment; check the limit of open files"
                    );
                }
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        match admission.admit(remote.ip()) {
            Some(admitted) => _ = tokio::spawn(serve(stream, remote, admitted)),
            None => tracing::debug!(protocol, %remote, "connection refused: too many are open"),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn those_that_are_too_many_are_closed_until_there_is_room() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let admission = Admission::new(1, 1);
        let parts = ("test", admission.clone(), Arc::new(Warnings::default()));
        let accepting = tokio::spawn(accept(
            listener,
            parts,
            |mut stream, _, admitted| async move {
                _ = stream.read(&mut [0; 1]).await;
                drop(admitted);
                _ = tokio::io::AsyncWriteExt::write_all(&mut stream, b"x").await;
            },
        ));
        let mut first = TcpStream::connect(address).await.unwrap();
        let mut second = TcpStream::connect(address).await.unwrap();
        let closed = second.read(&mut [0; 1]).await;
        assert!(!matches!(closed, Ok(1)), "{closed:?}");
        tokio::io::AsyncWriteExt::write_all(&mut first, b"x")
            .await
            .unwrap();
        assert_eq!(first.read(&mut [0; 1]).await.unwrap(), 1);
        let mut third = TcpStream::connect(address).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut third, b"x")
            .await
            .unwrap();
        assert_eq!(third.read(&mut [0; 1]).await.unwrap(), 1);
        accepting.abort();
    }
}
