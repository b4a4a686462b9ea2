//! One published stream for all its viewers.

pub mod catalog;
pub mod fanout;
pub mod groups;
pub mod metadata;
pub mod publish;
pub mod refragment;
pub mod registry;
pub mod relay;
pub mod timeline;
pub mod transcoded;
pub mod window;
