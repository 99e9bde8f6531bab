//! All rows as of now, as a stream of bytes: what `lbm backup` writes into its file.
//!
//! Read by a thread of its own from one view, which writers never wait for. One at a time, as a view keeps pages from being reused.

use std::io::{self, Write};
use std::sync::Arc;

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::stream;
use hyper::body::Bytes;
use tokio::sync::mpsc;

use super::extract::As;
use crate::api::BACKUP_MEDIA_TYPE;
use crate::api::types::Problem;
use crate::backup;
use crate::limits;

pub(super) async fn backup(As(api): As) -> Result<Response, Problem> {
    // The semaphore is never closed.
    let turn = Arc::clone(&api.backing_up).acquire_owned().await;
    let view = api.node().view()?;
    let (pieces, received) = mpsc::channel(limits::BACKUP_PIECES);
    tokio::task::spawn_blocking(move || {
        let _held = turn;
        let mut out = Pieces { pieces, piece: Vec::new() };
        let written = backup::write_rows(&mut out, &view).and_then(|()| Ok(out.flush()?));
        if let Err(error) = written {
            tracing::warn!(%error, "a backup broke off");
            // Breaks the stream, so that nobody takes what came for all of it. Who reads may be gone.
            let _gone = out.pieces.blocking_send(Err(io::Error::other(error.to_string())));
        }
    });
    let stream = stream::unfold(received, |mut received| async move { Some((received.recv().await?, received)) });
    Ok(([(header::CONTENT_TYPE, BACKUP_MEDIA_TYPE)], Body::from_stream(stream)).into_response())
}

/// Cuts what is written into pieces, and waits where the reader is behind.
struct Pieces {
    pieces: mpsc::Sender<io::Result<Bytes>>,
    piece: Vec<u8>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= limits::BACKUP_PIECE_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let piece = std::mem::take(&mut self.piece);
        let sent = self.pieces.blocking_send(Ok(piece.into()));
        sent.map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "whoever asked for it is gone"))
    }
}
