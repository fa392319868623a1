//! Free ports for the children, held until they are started.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// An address nobody else gets while this is held.
pub(super) struct Reserved {
    listener: TcpListener,
    pub(super) address: SocketAddr,
}

impl Reserved {
    pub(super) fn new() -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// Makes the address free for the child that is about to start.
    pub(super) fn release(self) {
        drop(self.listener);
    }
}
