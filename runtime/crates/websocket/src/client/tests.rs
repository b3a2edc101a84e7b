//! When a client has to go: real sockets, and looks that the tests take themselves.

use std::net::Ipv4Addr;

use tokio::net::TcpListener;

use super::*;

/// A client, and the other end of its connection.
async fn connected() -> (Client, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (socket, from) = listener.accept().await.unwrap();
    let connection =
        Connection { socket, cipher: Cipher::Plain, early: Vec::new(), address: from.ip(), farewell: None };
    (Client::new(ClientId(1), connection, ClientLimits { message: 1_024, queue: 1_024 }), far)
}

#[tokio::test]
async fn silence_is_counted_in_looks_so_that_a_pause_of_the_process_is_held_against_nobody() {
    let (client, _far) = connected().await;
    assert!(client.look_after(0), "it has just come");
    let paused = 10 * 60_000;
    for look in 1..i64::from(SILENT) {
        assert!(client.look_after(paused + look * 1_000), "look {look}");
    }
    assert!(!client.look_after(paused + 31_000));
    assert_eq!(client.closed_with(), Some(CloseCode::NoPong));
}

#[tokio::test]
async fn a_socket_that_takes_nothing_is_counted_in_looks_too() {
    let (client, far) = connected().await;
    // More than the kernel keeps on both sides; a queue takes one frame of any length.
    client.push(Kind::Firm, Bytes::from(vec![0; 32 << 20]), 0);
    client.flush();
    assert!(client.look_after(0), "it has taken something since it came");
    for look in 1..i64::from(STUCK) {
        assert!(client.look_after(10 * 60_000 + look), "look {look}");
    }
    // It reads a part: the count begins again.
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
    for look in 0..i64::from(STUCK) {
        assert!(client.look_after(look), "look {look}");
    }
    assert!(!client.look_after(11));
    assert_eq!(client.closed_with(), Some(CloseCode::Slow));
}
