//! Content codings (RFC 9110, section 8.4.1): gzip, deflate, br, zstd.

/// One coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// `gzip`, `x-gzip`
    Gzip,
    /// `deflate`: zlib (RFC 1950).
    Deflate,
    /// `br`
    Brotli,
    /// `zstd`
    Zstd,
}

impl Coding {
    /// The token in `Content-Encoding`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }
}

/// Reads all `Content-Encoding` fields of a message; `identity` counts as none. `Err`: an unknown one, or more than two.
pub fn parse(headers: &::http::HeaderMap) -> Result<Vec<Coding>, ()> {
    let _ = headers;
    todo!()
}

/// The coding to answer with by the receiver's `Accept-Encoding` (RFC 9110, section 12.5.3), among those that we make; `None`: identity.
pub fn negotiate(accept_encoding: Option<&::http::HeaderValue>) -> Option<Coding> {
    let _ = accept_encoding;
    todo!()
}
