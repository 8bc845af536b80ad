//! One client's connection: frames in, answers out, in the order of the requests.
//!
//! The next request is read when the last one was answered, as Apache Kafka does it, so that a long poll
//! cannot be overtaken. Whatever cannot be read ends this connection and nothing else.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::protocol::StrBytes;
use std::io;
use std::rc::Rc;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::frame::{self, Failed, Head, Incoming};
use super::server::Server;
use super::state::Caller;

/// Serves one client until it goes, or sends what cannot be answered.
pub(super) async fn serve(server: Rc<Server>, stream: TcpStream) {
    let peer = stream
        .peer_addr()
        .map_or_else(|_| "?".to_owned(), |peer| peer.to_string());
    match run(&server, stream).await {
        Ok(()) => {}
        Err(End::Io(error)) => tracing::debug!(%peer, %error, "connection lost"),
        Err(End::Refused(why)) => tracing::warn!(%peer, %why, "connection closed"),
    }
}

/// What ends a connection early.
enum End {
    Io(io::Error),
    Refused(Failed),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Failed> for End {
    fn from(failed: Failed) -> Self {
        Self::Refused(failed)
    }
}

async fn run(server: &Server, mut stream: TcpStream) -> Result<(), End> {
    stream.set_nodelay(true)?;
    let host = StrBytes::from_string(stream.peer_addr()?.ip().to_string());
    let (reader, mut writer) = stream.split();
    let mut reader = BufReader::with_capacity(64 * 1024, reader);
    while let Some(frame) = read_frame(&mut reader).await? {
        let (head, response) = match frame::decode(frame)? {
            Incoming::UnknownApiVersions(head) => (head, Some(frame::unknown_api_versions())),
            Incoming::Request(head, request) => {
                let caller = caller(server, &head, &host);
                let response = server.answer(&caller, request).await;
                (head, response)
            }
        };
        if let Some(response) = response {
            writer.write_all(&frame::encode(&head, &response)?).await?;
        }
    }
    Ok(())
}

fn caller(server: &Server, head: &Head, host: &StrBytes) -> Caller {
    Caller {
        token: server.next_token(),
        client_id: head.client_id.clone(),
        host: host.clone(),
        version: head.version,
    }
}

/// The next frame without its length; `None` when the client has gone.
async fn read_frame<R: AsyncReadExt + Unpin>(reader: &mut R) -> Result<Option<Bytes>, End> {
    let length = match reader.read_i32().await {
        Ok(length) => length,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let length = usize::try_from(length)
        .ok()
        .filter(|length| (8..=frame::LARGEST_FRAME).contains(length));
    let Some(length) = length else {
        return Err(Failed::Malformed("its length cannot be".to_owned()).into());
    };
    let mut frame = BytesMut::with_capacity(length);
    while frame.len() < length {
        let missing = length - frame.len();
        let mut rest = (&mut frame).limit(missing);
        if reader.read_buf(&mut rest).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
    }
    Ok(Some(frame.freeze()))
}
