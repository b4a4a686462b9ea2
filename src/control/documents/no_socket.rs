//! Sockets that programs send documents to, where there are none.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;

use crate::media::documents::Channel;

/// None of them.
pub struct Door(Infallible);

impl Door {
    /// Says that there are none.
    pub fn open(_: &str, path: &Path, _: Arc<Channel>) -> Result<Door, String> {
        let path = path.display();
        Err(format!("socket of metadata_source is {path}, and this system has no Unix sockets: use file"))
    }

    /// Never begins.
    pub async fn serve(self) {
        match self.0 {}
    }
}
