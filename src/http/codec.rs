//! The codings as machines: coded bytes in, plain bytes out, and the other way round; no I/O, no waiting.
//!
//! Not here: where bytes come from, time, the connection (see [`super::body`]). Start at [`Undo`] and [`Apply`].
//!
//! What a decoder may cost is bounded by construction: output comes in pieces of at most [`PIECE`] bytes, windows are at most
//! 8 MiB (zstd, RFC 9659) or 16 MiB (br, RFC 7932; its "large window" extension is refused).

use async_compression::codecs::brotli::params::EncoderParams;
use async_compression::codecs::zstd::params::{CParameter, DParameter};
use async_compression::codecs::{
    BrotliDecoder, BrotliEncoder, DecodeV2, EncodeV2, GzipDecoder, GzipEncoder, ZlibDecoder, ZlibEncoder, ZstdDecoder,
    ZstdEncoder,
};
use async_compression::core::Level;
use async_compression::core::util::{PartialBuffer, WriteBuffer};
use bytes::{Buf, Bytes, BytesMut};

use super::body::BodyError;
use super::coding::Coding;

/// Bytes of one piece of output, at most.
pub(super) const PIECE: usize = 16 * 1024;

/// Output up to which the ratio is not looked at: small documents of one repeated word are not bombs.
const RATIO_FREE: u64 = 64 * 1024;

/// Largest zstd window that is decoded, as a power of two: 8 MiB, what RFC 9659 lets a sender use in HTTP.
const ZSTD_WINDOW_LOG: u32 = 23;

/// Members (gzip) or frames (zstd) that may follow each other before each has to bring [`MEMBER_BYTES`] on average: resetting
/// a decoder for every 20 bytes would be a cheap way to burn our time.
const MEMBERS_FREE: u64 = 64;
const MEMBER_BYTES: u64 = 4096;

/// What came of a pull.
#[derive(Debug)]
pub(super) enum Pulled {
    /// Plain bytes, never empty.
    Piece(Bytes),
    /// Coded bytes are needed: [`Undo::feed`] or [`Undo::end`].
    Starved,
    /// The coded stream, and all that was fed, came to its proper end.
    End,
}

/// Undoes a chain of codings.
pub(super) struct Undo {
    stage: Stage,
    source: Source,
    body_bytes: u64,
    ratio: u64,
}

/// The coded bytes as received.
#[derive(Default)]
struct Source {
    waiting: Bytes,
    consumed: u64,
    fed: bool,
    ended: bool,
}

/// One decoder and what it reads from.
struct Stage {
    decoder: Box<dyn DecodeV2 + Send>,
    coding: Coding,
    state: State,
    /// Bytes taken from below and not consumed yet. For the lowest stage they stay in `Source`.
    input: Bytes,
    /// The last call filled the output: the decoder may hold more.
    more: bool,
    members: u64,
    produced: u64,
    spare: BytesMut,
    below: Option<Box<Stage>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing of a first member read yet.
    Fresh,
    /// Inside a member.
    Inside,
    /// A member ended.
    Between,
    /// All below ended, too.
    Done,
}

impl Undo {
    /// `codings` in the order in which they were applied. `None` where there are none.
    pub(super) fn new(codings: &[Coding], body_bytes: u64, ratio: u32) -> Option<Self> {
        // The last one applied is the first to be undone, so it is the lowest stage.
        let mut stage = None;
        for coding in codings.iter().rev() {
            stage = Some(Stage::new(*coding, stage.map(Box::new)));
        }
        Some(Self { stage: stage?, source: Source::default(), body_bytes, ratio: u64::from(ratio.max(1)) })
    }

    /// Gives more of the coded bytes; only after [`Pulled::Starved`].
    pub(super) fn feed(&mut self, bytes: Bytes) {
        self.source.fed |= !bytes.is_empty();
        self.source.waiting = bytes;
    }

    /// There are no more coded bytes.
    pub(super) fn end(&mut self) {
        self.source.ended = true;
    }

    /// The next plain bytes.
    pub(super) fn pull(&mut self) -> Result<Pulled, BodyError> {
        // An empty message stays an empty message, whatever coding its header names (answers to HEAD, 204, 304; and empty ones).
        if self.source.ended && !self.source.fed {
            return Ok(Pulled::End);
        }
        let limits = (self.body_bytes, self.ratio);
        self.stage.pull(&mut self.source, limits)
    }
}

impl Stage {
    fn new(coding: Coding, below: Option<Box<Self>>) -> Self {
        let decoder: Box<dyn DecodeV2 + Send> = match coding {
            Coding::Gzip => Box::new(GzipDecoder::new()),
            Coding::Deflate => Box::new(ZlibDecoder::new()),
            Coding::Brotli => Box::new(BrotliDecoder::new()),
            Coding::Zstd => Box::new(ZstdDecoder::new_with_params(&[DParameter::window_log_max(ZSTD_WINDOW_LOG)])),
        };
        Self {
            decoder,
            coding,
            state: State::Fresh,
            input: Bytes::new(),
            more: false,
            members: 1,
            produced: 0,
            spare: BytesMut::new(),
            below,
        }
    }

    fn pull(&mut self, source: &mut Source, limits: (u64, u64)) -> Result<Pulled, BodyError> {
        loop {
            if self.state == State::Done {
                return Ok(Pulled::End);
            }
            let has_input = match self.below {
                Some(_) => !self.input.is_empty(),
                None => !source.waiting.is_empty(),
            };
            if has_input && self.state == State::Between {
                self.next_member()?;
            }
            if has_input || (self.more && self.state == State::Inside) {
                let written = self.step(source)?;
                if let Some(piece) = written {
                    self.charge(piece.len(), source, limits)?;
                    return Ok(Pulled::Piece(piece));
                }
                continue;
            }
            match &mut self.below {
                Some(below) => match below.pull(source, limits)? {
                    Pulled::Piece(bytes) => self.input = bytes,
                    Pulled::Starved => return Ok(Pulled::Starved),
                    Pulled::End => self.close()?,
                },
                None if source.ended => self.close()?,
                None => return Ok(Pulled::Starved),
            }
        }
    }

    /// One call of the decoder. `None`: no output came of it, but it consumed or wants input.
    fn step(&mut self, source: &mut Source) -> Result<Option<Bytes>, BodyError> {
        let lowest = self.below.is_none();
        let input = if lowest { &mut source.waiting } else { &mut self.input };
        if self.state == State::Fresh && self.coding == Coding::Brotli {
            // The decoder speaks the "large window" extension and would set a gigabyte aside; RFC 7932 has this code reserved.
            if input.first().is_some_and(|byte| byte & 0x7f == 0x11) {
                return Err(BodyError::Coding);
            }
        }
        self.state = State::Inside;
        if self.spare.len() < PIECE / 4 {
            self.spare = BytesMut::zeroed(PIECE);
        }
        let offered = input.len();
        let mut from = PartialBuffer::new(input.as_ref());
        let mut to = WriteBuffer::new_initialized(&mut self.spare);
        let result = self.decoder.decode(&mut from, &mut to);
        let (consumed, written) = (from.written().len(), to.written_len());
        self.more = to.has_no_spare_space();
        input.advance(consumed);
        if lowest {
            source.consumed += consumed as u64;
        }
        match result {
            Ok(true) => {
                self.state = State::Between;
                self.more = false;
            }
            Ok(false) if offered > 0 && consumed == 0 && written == 0 => return Err(BodyError::Coding),
            Ok(false) => {}
            // Some decoders call it an error to be asked for held-back output when there is none.
            Err(_) if offered == 0 => self.more = false,
            Err(_) => return Err(BodyError::Coding),
        }
        Ok((written > 0).then(|| self.spare.split_to(written).freeze()))
    }

    /// More bytes after the end of a member. RFC 1952 (section 2.2) and RFC 8878 (section 3) define a stream as one or more
    /// of them; for the other two codings such bytes are not in the coding.
    fn next_member(&mut self) -> Result<(), BodyError> {
        self.members += 1;
        let allowed = matches!(self.coding, Coding::Gzip | Coding::Zstd);
        if !allowed || self.members > MEMBERS_FREE + self.produced / MEMBER_BYTES {
            return Err(BodyError::Coding);
        }
        self.decoder.reinit().map_err(|_| BodyError::Coding)
    }

    /// Nothing more comes from below.
    fn close(&mut self) -> Result<(), BodyError> {
        if self.state != State::Between {
            return Err(BodyError::Coding);
        }
        self.state = State::Done;
        Ok(())
    }

    fn charge(&mut self, bytes: usize, source: &Source, (body_bytes, ratio): (u64, u64)) -> Result<(), BodyError> {
        self.produced += bytes as u64;
        let bomb = self.produced > RATIO_FREE && self.produced > source.consumed.saturating_mul(ratio);
        if self.produced > body_bytes || bomb { Err(BodyError::TooLarge) } else { Ok(()) }
    }
}

/// Applies one coding.
pub(super) struct Apply {
    encoder: Box<dyn EncodeV2 + Send>,
    spare: BytesMut,
}

/// The encoder failed: cannot happen short of memory, and then the message is broken off.
#[derive(Debug)]
pub(super) struct Failed;

impl Apply {
    /// Levels that keep pace with a connection (br 4, zstd 3, zlib 6) and windows of 256 KiB to 512 KiB, so that a stream costs
    /// one or two MiB and not eight.
    pub(super) fn new(coding: Coding) -> Self {
        let encoder: Box<dyn EncodeV2 + Send> = match coding {
            Coding::Gzip => Box::new(GzipEncoder::new(Level::Precise(6).into())),
            Coding::Deflate => Box::new(ZlibEncoder::new(Level::Precise(6).into())),
            Coding::Brotli => Box::new(BrotliEncoder::new(
                EncoderParams::default().quality(Level::Precise(4)).window_size(18).text_mode(),
            )),
            Coding::Zstd => Box::new(ZstdEncoder::new_with_params(3, &[CParameter::window_log(19)])),
        };
        Self { encoder, spare: BytesMut::new() }
    }

    /// Takes at most `most` bytes from the front of `input`; `None`: no output yet.
    pub(super) fn encode(&mut self, input: &mut Bytes, most: usize) -> Result<Option<Bytes>, Failed> {
        let (piece, consumed) = self.call(|encoder, to| {
            let mut from = PartialBuffer::new(input.get(..most).unwrap_or(input));
            encoder.encode(&mut from, to).map(|()| from.written().len())
        })?;
        if consumed == 0 && piece.is_none() && !input.is_empty() {
            return Err(Failed);
        }
        input.advance(consumed);
        Ok(piece)
    }

    /// Brings out what is held back; true when there is no more.
    pub(super) fn flush(&mut self) -> Result<(Option<Bytes>, bool), Failed> {
        self.call(|encoder, to| encoder.flush(to))
    }

    /// Brings out the end; true when it is out.
    pub(super) fn finish(&mut self) -> Result<(Option<Bytes>, bool), Failed> {
        self.call(|encoder, to| encoder.finish(to))
    }

    fn call<T>(
        &mut self,
        act: impl FnOnce(&mut dyn EncodeV2, &mut WriteBuffer<'_>) -> std::io::Result<T>,
    ) -> Result<(Option<Bytes>, T), Failed> {
        if self.spare.len() < PIECE / 4 {
            self.spare = BytesMut::zeroed(PIECE);
        }
        let mut to = WriteBuffer::new_initialized(&mut self.spare);
        let out = act(&mut *self.encoder, &mut to).map_err(|_| Failed)?;
        let written = to.written_len();
        Ok(((written > 0).then(|| self.spare.split_to(written).freeze()), out))
    }
}
