//! A TCP proxy before a broker, whose connections a test can cut, and whose large answers it can hold.
//!
//! The embedded broker tells its clients where it listens, so the proxy changes nothing in what they are told:
//! it has to listen where the clients go, and the broker's answers must name that place. It therefore rewrites
//! the port in the answers: four bytes behind the host name, which is unique enough on a loopback address.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// A running proxy; it ends with the process.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// Answers from this size on are large: they carry records, and nothing else does.
const LARGE: usize = 8 * 1024;

#[derive(Debug, Default)]
struct Shared {
    cut: AtomicBool,
    holds_large: AtomicBool,
    /// Large answers that may still pass while they are held.
    passes: AtomicU64,
    refused: AtomicU64,
    to_clients: AtomicU64,
    connections: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    pub(crate) fn before(broker: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared::default());
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                accepting.connect(client, broker, address.port());
            }
        });
        Self { address, shared }
    }

    pub(crate) fn bootstrap(&self) -> String {
        self.address.to_string()
    }

    /// Ends every connection and takes no new one.
    pub(crate) fn cut(&self) {
        self.shared.cut.store(true, Ordering::SeqCst);
        self.shared.end_connections();
    }

    /// Lets clients through again.
    pub(crate) fn mend(&self) {
        self.shared.cut.store(false, Ordering::SeqCst);
    }

    /// Holds large answers, and what is behind them on their connections, from now on.
    pub(crate) fn hold_large(&self) {
        self.shared.holds_large.store(true, Ordering::SeqCst);
    }

    /// Lets one more large answer through.
    pub(crate) fn pass_one(&self) {
        self.shared.passes.fetch_add(1, Ordering::SeqCst);
    }

    /// Holds nothing any more.
    pub(crate) fn pass_all(&self) {
        self.shared.holds_large.store(false, Ordering::SeqCst);
    }

    /// How many connections were refused.
    pub(crate) fn refused(&self) -> u64 {
        self.shared.refused.load(Ordering::SeqCst)
    }

    /// How many bytes went from the broker to clients.
    pub(crate) fn bytes_to_clients(&self) -> u64 {
        self.shared.to_clients.load(Ordering::SeqCst)
    }
}

impl Shared {
    fn connect(self: &Arc<Self>, client: TcpStream, broker: u16, own: u16) {
        if self.cut.load(Ordering::SeqCst) {
            self.refused.fetch_add(1, Ordering::SeqCst);
            return;
        }
        let Ok(server) = TcpStream::connect(("127.0.0.1", broker)) else {
            return;
        };
        let both = [&client, &server].map(|stream| stream.try_clone().expect("a socket can be shared"));
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.extend(
            both.iter()
                .map(|stream| stream.try_clone().expect("a socket can be shared")),
        );
        drop(connections);
        // Cut between the look above and now.
        if self.cut.load(Ordering::SeqCst) {
            self.end_connections();
        }
        let [mut from_client, mut from_server] = both;
        let (mut to_client, mut to_server) = (client, server);
        thread::spawn(move || {
            let _ = std::io::copy(&mut from_client, &mut to_server);
            let _ = to_server.shutdown(Shutdown::Both);
        });
        let shared = Arc::clone(self);
        thread::spawn(move || {
            while let Some(mut answer) = frame(&mut from_server) {
                // Large answers are records, which name no broker.
                if answer.len() < 64 * 1024 {
                    rewrite(&mut answer, broker, own);
                }
                if answer.len() >= LARGE {
                    shared.wait_for_pass();
                }
                shared.to_clients.fetch_add(answer.len() as u64, Ordering::SeqCst);
                if to_client.write_all(&answer).is_err() {
                    break;
                }
            }
            let _ = to_client.shutdown(Shutdown::Both);
            let _ = from_server.shutdown(Shutdown::Both);
        });
    }

    fn wait_for_pass(&self) {
        let take = |passes: u64| passes.checked_sub(1);
        while self.holds_large.load(Ordering::SeqCst)
            && self
                .passes
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, take)
                .is_err()
        {
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn end_connections(&self) {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        for connection in connections.drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

/// One answer with its length before it.
fn frame(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let size = usize::try_from(u32::from_be_bytes(length)).ok()?;
    let mut answer = vec![0; 4 + size];
    answer[..4].copy_from_slice(&length);
    stream.read_exact(&mut answer[4..]).ok()?;
    Some(answer)
}

/// Puts the proxy's port behind every host name that the broker's stood behind.
fn rewrite(answer: &mut [u8], broker: u16, own: u16) {
    let told = [&b"127.0.0.1"[..], &u32::from(broker).to_be_bytes()].concat();
    let mut at = 0;
    while let Some(found) = answer[at..].windows(told.len()).position(|part| part == told) {
        at += found + told.len();
        answer[at - 4..at].copy_from_slice(&u32::from(own).to_be_bytes());
    }
}
