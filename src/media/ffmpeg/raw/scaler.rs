//! Pictures in another size and format.

use ffmpeg_next::Error;
use ffmpeg_next::format::Pixel;
use ffmpeg_next::frame::Video;
use ffmpeg_next::software::scaling::{Context, Flags};

/// Format and size of pictures.
pub type Shape = (Pixel, u32, u32);

/// Scales pictures of one shape to another.
pub struct Scaler {
    context: Context,
    shapes: (Shape, Shape),
}

// SAFETY: the context is a heap allocation that is bound to no thread; it is used through `&mut self` only.
unsafe impl Send for Scaler {}

impl Scaler {
    /// An error where FFmpeg cannot make the one of the other.
    pub fn new(from: Shape, to: Shape) -> Result<Scaler, Error> {
        let context = Context::get(from.0, from.1, from.2, to.0, to.1, to.2, Flags::BICUBIC)?;
        Ok(Scaler { context, shapes: (from, to) })
    }

    /// What it takes, and what it makes.
    pub fn shapes(&self) -> (Shape, Shape) {
        self.shapes
    }

    /// Scales a picture into another, which has the shape that was asked for.
    pub fn run(&mut self, picture: &Video, scaled: &mut Video) -> Result<(), Error> {
        self.context.run(picture, scaled)
    }
}
