//! How a test counts what the client allocates, and nothing else.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use allocation_counter::measure;
use test_support::{Server, always};

#[test]
fn counts_this_thread_and_not_the_peer() {
    let peers = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("the machine has a thread");
    // Work that the measured thread does in `block_on` would count; what it spawns there does not.
    let server = peers.block_on(Server::start(always(200, vec![b'x'; 100])));
    let mut stream = TcpStream::connect(server.addr()).unwrap();

    let info = measure(|| {
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            .unwrap();
        assert!(stream.read(&mut [0; 1024]).unwrap() > 100);
    });
    let own = measure(|| drop(vec![0_u8; 100]));

    assert_eq!(info.count_total, 0);
    assert_eq!((own.count_total, own.bytes_total), (1, 100));
    peers.block_on(server.wait_for(|log| log.requests.len() == 1));
}
