use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::{TcpListener, TcpSocket};

/// A port that no one else gets as long as this lives. It refuses connects while nothing listens on it.
///
/// Binding a listener to port 0 and dropping it frees the port: another test may get it before it is used. This
/// keeps a socket bound that never listens. The system gives such a port to nobody who asks for any free port, and
/// to no outgoing connection.
#[derive(Debug)]
pub struct Port {
    address: SocketAddr,
    _bound: TcpSocket,
}

impl Port {
    /// Takes a free port of 127.0.0.1.
    ///
    /// # Panics
    ///
    /// Panics if there is no free port.
    #[must_use]
    pub fn free() -> Self {
        Self::free_at(Ipv4Addr::LOCALHOST)
    }

    /// Takes a free port of another address of this machine.
    ///
    /// # Panics
    ///
    /// Panics if there is no free port.
    #[must_use]
    pub fn free_at(ip: Ipv4Addr) -> Self {
        let bound = bind((ip, 0).into());
        let address = bound.local_addr().expect("it is bound");
        Self {
            address,
            _bound: bound,
        }
    }

    /// Returns the address.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Returns the URL of the root over plain HTTP: `http://127.0.0.1:40123/`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Listens on the port. When the listener is dropped, the port refuses again.
    ///
    /// # Panics
    ///
    /// Panics if another listener of this port is there, or the caller is outside of a runtime.
    #[must_use]
    pub fn listen(&self) -> TcpListener {
        bind(self.address)
            .listen(1024)
            .expect("only one listens at a time")
    }
}

/// Sockets that allow reuse share an address as long as none of them listens.
fn bind(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("there is IPv4");
    socket.set_reuseaddr(true).expect("the option is known");
    socket.bind(address).expect("the port is free");
    socket
}

#[cfg(test)]
mod tests {
    use super::Port;
    use tokio::net::{TcpListener, TcpStream};

    #[tokio::test]
    async fn a_port_refuses_until_something_listens_and_again_afterwards() {
        let port = Port::free();
        for _ in 0..3 {
            TcpStream::connect(port.addr()).await.unwrap_err();
            let listener = port.listen();
            let (client, server) = tokio::join!(TcpStream::connect(port.addr()), listener.accept());
            client.unwrap();
            server.unwrap();
            drop(listener);
        }
    }

    #[tokio::test]
    async fn no_one_else_gets_the_port() {
        let port = Port::free();
        drop(port.listen());
        assert!(
            TcpListener::bind(port.addr()).await.is_ok(),
            "by name it can be had"
        );
        for _ in 0..2_000 {
            let other = Port::free();
            assert_ne!(other.addr(), port.addr());
        }
    }
}
