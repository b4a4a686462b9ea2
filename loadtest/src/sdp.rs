//! The parts of a session description that a viewer needs: which tracks there are and how to set them up.

use crate::keyframe::Coding;

/// One `m=` section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    /// Whether it is `video`.
    pub is_video: bool,
    /// Absolute URL for SETUP.
    pub control: String,
    /// How its keyframes are known.
    pub coding: Coding,
}

/// The aggregate URL for PLAY and the tracks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Absolute URL of the presentation.
    pub control: String,
    /// Its tracks in order.
    pub tracks: Vec<Track>,
}

impl Description {
    /// Reads a description whose relative URLs are relative to `base`; what it does not know it skips.
    pub fn parse(text: &str, base: &str) -> Description {
        let mut description = Description { control: base.to_owned(), tracks: Vec::new() };
        for line in text.lines() {
            if let Some(media) = line.strip_prefix("m=") {
                let is_video = media.starts_with("video");
                // A static payload type stands for itself; a dynamic one is named below.
                let coding = Coding::of(media.split_whitespace().nth(3).unwrap_or_default());
                description.tracks.push(Track { is_video, control: base.to_owned(), coding });
            } else if let Some((_, name)) = line.strip_prefix("a=rtpmap:").and_then(|map| map.split_once(' '))
            {
                if let Some(track) = description.tracks.last_mut() {
                    track.coding = Coding::of(name.split('/').next().unwrap_or_default());
                }
            } else if let Some(control) = line.strip_prefix("a=control:") {
                let url = resolve(base, control.trim());
                match description.tracks.last_mut() {
                    Some(track) => track.control = url,
                    None => description.control = url,
                }
            }
        }
        description
    }
}

/// RFC 2326 section C.1.1.
fn resolve(base: &str, control: &str) -> String {
    if control == "*" || control.is_empty() {
        base.to_owned()
    } else if control.contains("://") {
        control.to_owned()
    } else {
        format!("{}/{control}", base.trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tracks_are_found_with_their_urls() {
        let text = "v=0\r\na=control:*\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:track=0\r\nm=audio 0 RTP/AVP 0\r\n\
                    a=control:rtsp://other/x\r\n";
        let description = Description::parse(text, "rtsp://host/clip.mp4/");
        assert_eq!(description.control, "rtsp://host/clip.mp4/");
        assert_eq!(description.tracks[0].control, "rtsp://host/clip.mp4/track=0");
        assert_eq!(
            description.tracks[1],
            Track { is_video: false, control: "rtsp://other/x".into(), coding: Coding::Other }
        );
        assert_eq!(description.tracks[0].coding, Coding::H264);
    }
}
