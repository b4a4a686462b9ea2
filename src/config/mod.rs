//! What does the person who runs the server want?
//!
//! Three stages: XML as typed ([`typed`]), as checked (`checked`), as running ([`running`], where
//! command line, environment, file and defaults meet). The rest of the program sees [`Settings`] only.

mod addition;
pub mod camera;
mod checked;
mod difference;
pub mod elements;
mod keys;
mod making;
mod metadata_source;
mod network;
mod node;
pub mod origin;
mod output;
pub mod problem;
pub mod running;
mod service;
pub mod settings;
mod steering;
#[cfg(test)]
mod tests;
pub mod typed;
mod user;
mod values;
mod wildcard;

pub use crate::media::format::{AudioCodec, AudioFormat, Choice, VideoCodec, VideoFormat};
pub use addition::{Addition, Typed};
pub use camera::Camera;
pub use difference::{Count, Difference, keep_from_start, keep_origin};
pub use keys::{Key, keys};
pub use metadata_source::MetadataSource;
pub use network::AddressRange;
pub use origin::{Origin, Place};
pub use output::{Output, Owner, Rules, is_device};
pub use problem::{ConfigError, Problem};
pub use running::{Loaded, Overrides, find_file, load, load_bytes};
pub use service::RunAs;
pub use settings::{
    Backchannel, BackendChoice, GopCache, Holder, Host, HttpNotify, LogFormat, LogLevel, Loops, NotifyFail,
    NotifyMethod, OnRepublish, Proxy, Publish, Pusher, PusherAudio, PusherMode, PusherVideo, Secret,
    Settings, Srtp, Transfer, ZeroCopy,
};
pub use steering::Api;
pub use user::{Action, Password, Permission, User};
