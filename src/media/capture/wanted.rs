//! What all who share a capture want of its device together.

use super::Device;
use crate::media::format::{AudioFormat, Format, Framerate, VideoFormat};

/// A device gives no fewer pictures a second: it is waited for, and what is slower is made of that.
const THOUSANDTHS_MIN: u32 = 2_000;

/// What is wanted of a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Pictures: the codec of who came first, the longest sides and the highest rate of all.
    pub video: VideoFormat,
    /// Sound of who came first.
    pub audio: AudioFormat,
    /// Whether somebody takes pictures as large as the device has them by itself.
    pub any_size: bool,
    /// Whether somebody takes them as often as the device has them by itself.
    pub any_rate: bool,
}

impl Wanted {
    /// What one wants.
    pub fn of(device: &Device, format: &Format) -> Wanted {
        let Format { mut video, audio } = *format;
        if device.is_heard() {
            video = VideoFormat::default();
        }
        video.framerate = video
            .framerate
            .and_then(|rate| Framerate::of_thousandths(rate.thousandths().max(THOUSANDTHS_MIN)));
        let any_size = video.width.is_none() && video.height.is_none();
        Wanted { video, audio, any_size, any_rate: video.framerate.is_none() }
    }

    /// Takes in what another wants.
    pub fn join(&mut self, other: &Wanted) {
        let (own, others) = (&mut self.video, &other.video);
        own.width = own.width.max(others.width);
        own.height = own.height.max(others.height);
        if self.thousandths() < other.thousandths() {
            self.video.framerate = other.video.framerate;
        }
        self.any_size |= other.any_size;
        self.any_rate |= other.any_rate;
    }

    /// The highest rate that is asked for, in thousandths; zero where none is.
    pub fn thousandths(&self) -> u32 {
        self.video.framerate.map_or(0, Framerate::thousandths)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_content_with_the_largest_and_the_fastest() {
        let of = |text: &str| {
            let parameters = text.split('&').filter_map(|part| part.split_once('='));
            let parameters: Vec<_> =
                parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            Wanted::of(&Device::Camera(0), &Format::default().with_parameters(&parameters).unwrap())
        };
        let mut wanted = of("w=640&h=360&fr=0.5&ve=JPEG");
        assert_eq!((wanted.any_size, wanted.any_rate, wanted.thousandths()), (false, false, THOUSANDTHS_MIN));
        wanted.join(&of("w=320&h=480&fr=30"));
        assert_eq!((wanted.video.width, wanted.video.height), (Some(640), Some(480)));
        assert_eq!((wanted.any_size, wanted.thousandths()), (false, 30_000));
        wanted.join(&of(""));
        assert!(wanted.any_size && wanted.any_rate);
        assert_eq!((wanted.video.width, wanted.thousandths()), (Some(640), 30_000));
        assert_eq!(wanted.video.codec, of("ve=JPEG").video.codec);
    }
}
