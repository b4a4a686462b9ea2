//! What a server can get wrong that speaks HTTP.

use thiserror::Error;

use super::body::CHUNK_LINE_BYTES_MAX;
use super::head::HEAD_BYTES_MAX;
use super::machine::FRUITLESS_MAX;
use super::pictures::{PICTURE_BYTES_MAX, SKIPPED_BYTES_MAX};

/// Why what comes is no Motion JPEG.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MjpegError {
    /// The head of the response cannot be read.
    #[error("the answer is no HTTP response: {0}")]
    Head(&'static str),
    /// The head has no end.
    #[error("the head of the response has more than {HEAD_BYTES_MAX} bytes")]
    HeadTooLong,
    /// The chunked transfer coding is broken.
    #[error(
        "the chunked transfer coding is broken, or a line of it has more than {CHUNK_LINE_BYTES_MAX} bytes"
    )]
    Chunk,
    /// The response is something else.
    #[error("the server sends \"{0}\", neither multipart/x-mixed-replace nor image/jpeg")]
    ContentType(String),
    /// A picture has no end.
    #[error("a picture has more than {PICTURE_BYTES_MAX} bytes")]
    PictureTooLarge,
    /// What stands between two pictures has no end.
    #[error("no JPEG picture begins within {SKIPPED_BYTES_MAX} bytes")]
    NoPicture,
    /// Answers that say they are a picture and hold none.
    #[error("{FRUITLESS_MAX} responses in a row hold no whole JPEG picture")]
    EmptySnapshots,
}
