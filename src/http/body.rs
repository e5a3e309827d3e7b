//! Bodies in and out: read under limits with their coding undone, written whole or streamed.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::coding::Coding;

/// What a body may cost on the way in.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes after the coding was undone (and so before it, too).
    pub body_bytes: u64,
    /// Bytes out of the decoder for each byte into it. Default 100, counted from 64 KiB on.
    pub ratio: u32,
    /// Longest wait for the next bytes.
    pub idle: Duration,
}

/// Why a body cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Over `body_bytes`, or over `ratio`.
    #[error("body too large")]
    TooLarge,
    /// Bytes that are not in the coding that the header names, or bytes after its end.
    #[error("body not in its coding")]
    Coding,
    /// The connection ended before the framing said so.
    #[error("body incomplete")]
    Incomplete,
    /// `idle` passed.
    #[error("body too slow")]
    Slow,
}

/// Reads one body: un-coded chunks under limits. Trailers are dropped.
pub struct Reader {}

impl Reader {
    /// `codings` in the order in which they were applied (RFC 9110, section 8.4); at most two.
    pub fn new<B>(body: B, codings: &[Coding], limits: Limits) -> Self
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let _ = (body, codings, limits);
        todo!()
    }
    /// The next un-coded bytes, never empty; `None` at a proper end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        todo!()
    }
}

/// A body on the way out.
pub struct Outgoing {}

impl Outgoing {
    /// None.
    pub fn empty() -> Self {
        todo!()
    }
    /// Whole: a `Content-Length` is sent.
    pub fn full(bytes: Bytes) -> Self {
        let _ = bytes;
        todo!()
    }
    /// Streamed, with back pressure: at most one chunk waits. Dropping the writer without [`Writer::finish`] breaks the message off
    /// (no final chunk on HTTP/1.1; RST_STREAM on HTTP/2), so that nobody takes the part for the whole.
    pub fn stream() -> (Writer, Self) {
        todo!()
    }
    /// Applies a coding on the way out (streams stay streams and are flushed with each chunk).
    #[must_use]
    pub fn coded(self, coding: Coding) -> Self {
        let _ = coding;
        todo!()
    }
}

/// Cut off on purpose.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("cut off")]
pub struct CutOff;

impl Body for Outgoing {
    type Data = Bytes;
    type Error = CutOff;
    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        let _ = cx;
        todo!()
    }
    fn is_end_stream(&self) -> bool {
        todo!()
    }
    fn size_hint(&self) -> SizeHint {
        todo!()
    }
}

/// Feeds a streamed [`Outgoing`].
pub struct Writer {}

impl Writer {
    /// Waits for room and hands on the chunk. `Err`: the receiver is gone.
    pub async fn write(&mut self, chunk: Bytes) -> Result<(), Gone> {
        let _ = chunk;
        todo!()
    }
    /// The body is whole. Resolves when the last chunk has been taken by the connection, as far as can be known; `Err`: the receiver went away first.
    pub async fn finish(self) -> Result<(), Gone> {
        todo!()
    }
}

/// The receiver is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("receiver gone")]
pub struct Gone;
