//! A TCP proxy before a broker, whose connections a test can cut, slow down or leave half open, and whose large answers
//! it can hold.
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
    half_open: AtomicBool,
    /// Bytes a second of each connection and direction; 0 for as fast as it goes.
    pace: AtomicU64,
    holds_large: AtomicBool,
    /// Large answers that may still pass while they are held.
    passes: AtomicU64,
    refused: AtomicU64,
    to_clients: AtomicU64,
    connections: Mutex<Vec<Connection>>,
}

#[derive(Debug)]
struct Connection {
    client: TcpStream,
    server: Option<TcpStream>,
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

    #[allow(dead_code, reason = "not every test that has a proxy does all to it")]
    /// The broker sees every connection end; clients see nothing: what they send is taken, and nothing answers.
    pub(crate) fn half_open(&self) {
        self.shared.half_open.store(true, Ordering::SeqCst);
        self.shared.end_servers();
    }

    #[allow(dead_code, reason = "not every test that has a proxy does all to it")]
    /// Lets this many bytes a second through each connection, either way.
    pub(crate) fn slow_down(&self, bytes_per_second: u64) {
        self.shared.pace.store(bytes_per_second, Ordering::SeqCst);
    }

    /// Lets clients through again. They learn what became of connections that were half open.
    pub(crate) fn mend(&self) {
        self.shared.cut.store(false, Ordering::SeqCst);
        self.shared.pace.store(0, Ordering::SeqCst);
        if self.shared.half_open.swap(false, Ordering::SeqCst) {
            self.shared.end_connections();
        }
    }

    #[allow(dead_code, reason = "not every test that has a proxy does all to it")]
    /// Holds large answers, and what is behind them on their connections, from now on.
    pub(crate) fn hold_large(&self) {
        self.shared.holds_large.store(true, Ordering::SeqCst);
    }

    #[allow(dead_code, reason = "not every test that has a proxy does all to it")]
    /// Lets one more large answer through.
    pub(crate) fn pass_one(&self) {
        self.shared.passes.fetch_add(1, Ordering::SeqCst);
    }

    #[allow(dead_code, reason = "not every test that has a proxy does all to it")]
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
        let kept = |stream: &TcpStream| stream.try_clone().expect("a socket can be shared");
        if self.half_open.load(Ordering::SeqCst) {
            self.keep(Connection { client, server: None });
            return;
        }
        let Ok(server) = TcpStream::connect(("127.0.0.1", broker)) else {
            return;
        };
        self.keep(Connection {
            client: kept(&client),
            server: Some(kept(&server)),
        });
        let (mut from_client, mut from_server) = (kept(&client), kept(&server));
        let (mut to_client, mut to_server) = (client, server);
        let shared = Arc::clone(self);
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = from_client.read(&mut bytes) {
                if shared.write(&mut to_server, &bytes[..length]).is_err() {
                    break;
                }
            }
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
                if shared.write(&mut to_client, &answer).is_err() {
                    break;
                }
            }
            if !shared.half_open.load(Ordering::SeqCst) {
                let _ = to_client.shutdown(Shutdown::Both);
            }
            let _ = from_server.shutdown(Shutdown::Both);
        });
    }

    fn keep(&self, connection: Connection) {
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(connection);
        // Cut, or half open, between the look before and now.
        if self.cut.load(Ordering::SeqCst) {
            self.end_connections();
        } else if self.half_open.load(Ordering::SeqCst) {
            self.end_servers();
        }
    }

    /// Writes at the pace that is set, in tenths of a second.
    fn write(&self, stream: &mut TcpStream, mut bytes: &[u8]) -> std::io::Result<()> {
        while !bytes.is_empty() {
            let pace = self.pace.load(Ordering::SeqCst);
            let length = match usize::try_from(pace / 10) {
                Ok(tenth @ 1..) => bytes.len().min(tenth),
                _ => bytes.len(),
            };
            let (now, later) = bytes.split_at(length);
            stream.write_all(now)?;
            if pace > 0 {
                let share = length as f64 / pace as f64;
                thread::sleep(Duration::from_secs_f64(share));
            }
            bytes = later;
        }
        Ok(())
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
            for stream in [Some(&connection.client), connection.server.as_ref()]
                .into_iter()
                .flatten()
            {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }

    fn end_servers(&self) {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        for server in connections
            .iter_mut()
            .filter_map(|connection| connection.server.take())
        {
            let _ = server.shutdown(Shutdown::Both);
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
