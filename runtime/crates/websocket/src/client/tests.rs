//! When the server closes a connection: real sockets, and liveness checks that the tests make themselves.

use std::net::Ipv4Addr;

use tokio::net::TcpListener;

use super::*;

/// Returns a client and the other end of its connection.
async fn connected() -> (Client, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (socket, from) = listener.accept().await.unwrap();
    let connection =
        Connection { socket, cipher: Cipher::Plain, early: Vec::new(), address: from.ip(), shutdown_message: None };
    (Client::new(ClientId(1), connection, ClientLimits { message: 1_024, queue: 1_024 }), far)
}

#[tokio::test]
async fn silence_is_counted_in_checks_so_that_a_pause_of_the_process_closes_no_connection() {
    let (client, _far) = connected().await;
    assert!(client.check_liveness(0), "it has just connected");
    let paused = 10 * 60_000;
    for check in 1..i64::from(MAX_SILENT_CHECKS) {
        assert!(client.check_liveness(paused + check * 1_000), "check {check}");
    }
    assert!(!client.check_liveness(paused + 31_000));
    assert_eq!(client.closed_with(), Some(CloseCode::NoPong));
}

#[tokio::test]
async fn a_socket_that_takes_nothing_is_counted_in_checks_too() {
    let (client, far) = connected().await;
    // More than the kernel buffers on both sides; an outbox takes one frame of any length.
    client.push(FrameKind::Required, Bytes::from(vec![0; 32 << 20]), 0);
    client.flush();
    assert!(client.check_liveness(0), "its socket has taken bytes since it connected");
    for check in 1..i64::from(MAX_STUCK_CHECKS) {
        assert!(client.check_liveness(10 * 60_000 + check), "check {check}");
    }
    // The client reads a part: the count starts again.
    let mut scrap = vec![0; 4 << 20];
    let mut read = 0;
    while read < scrap.len() {
        tokio::select! {
            ready = far.readable() => ready.unwrap(),
            ready = client.socket.writable() => ready.unwrap(),
        }
        read += far.try_read(&mut scrap).unwrap_or_default();
        client.flush();
    }
    for check in 0..i64::from(MAX_STUCK_CHECKS) {
        assert!(client.check_liveness(check), "check {check}");
    }
    assert!(!client.check_liveness(11));
    assert_eq!(client.closed_with(), Some(CloseCode::Slow));
}
