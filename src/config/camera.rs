//! Which camera `/videodeviceN` is: `<videodevice index="1" path="/dev/v4l/by-id/..."/>`.

use std::path::PathBuf;

use super::node::{Node, Report, Wanted};
use super::origin::Place;
use super::values;

/// A camera that is always found under the same path of a URL.
#[derive(Clone, Debug, PartialEq)]
pub struct Camera {
    /// The number behind `videodevice`, from 0.
    pub index: u32,
    /// Its device file, or a link to it.
    pub path: PathBuf,
    /// Where the node is.
    pub place: Place,
}

/// Reads a node. None when it is wrong, which is reported.
pub(super) fn camera(node: &Node<'_>, others: &[Camera], report: &mut Report) -> Option<Camera> {
    node.expect_attributes(&["index", "path"], report);
    for child in node.children() {
        child.unknown(&[], report);
    }
    let place = node.element.place.clone();
    let index = node.attribute("index", INDEX, |text| values::number(text, 0, INDEX_MAX), report);
    let path = node.attribute("path", PATH, device_file, report);
    let camera = Camera { index: index?, path: path?, place };
    if let Some(other) = others.iter().find(|other| other.index == camera.index) {
        let text =
            format!("{} is taken in line {}; allowed: each index once", camera.index, other.place.line);
        report.error(&camera.place, &format!("{}/@index", node.path), text);
        return None;
    }
    Some(camera)
}

fn device_file(text: &str) -> Option<PathBuf> {
    let is_path = text.starts_with('/') && !text.contains('\0');
    is_path.then(|| PathBuf::from(text))
}

/// The highest number of a camera.
const INDEX_MAX: u32 = 255;

const INDEX: Wanted = Wanted { noun: "an index of a camera", allowed: "0 to 255" };
const PATH: Wanted =
    Wanted { noun: "a device file", allowed: "an absolute path, such as /dev/v4l/by-id/usb-...-index0" };

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::ConfigError;
    use super::super::running::{Loaded, Overrides, load_bytes};

    fn load(nodes: &str) -> Result<Loaded, ConfigError> {
        let text = format!("<config>\n{nodes}\n</config>");
        load_bytes(text.as_bytes(), Path::new("rtspserver.xml"), &Overrides::default())
    }

    #[test]
    fn cameras_have_the_numbers_that_the_file_gives_them() {
        let loaded = load(
            "<videodevice index=\"1\" path=\"/dev/v4l/by-id/usb-a&amp;b\"/>\n\
             <videodevice index='0' path='/dev/video4' name='x'/>",
        );
        let loaded = loaded.unwrap();
        let cameras =
            loaded.settings.cameras.iter().map(|camera| (camera.index, camera.path.to_str().unwrap()));
        assert_eq!(cameras.collect::<Vec<_>>(), [(1, "/dev/v4l/by-id/usb-a&b"), (0, "/dev/video4")]);
        let warnings: Vec<_> = loaded.warnings.iter().map(ToString::to_string).collect();
        assert_eq!(warnings, ["rtspserver.xml:3:1: config/videodevice: attribute \"name\" is ignored"]);
    }

    #[test]
    fn a_camera_without_a_number_or_a_file_and_a_number_twice_are_refused() {
        let allowed_path = "allowed: an absolute path, such as /dev/v4l/by-id/usb-...-index0";
        for (nodes, expected) in [
            (
                "<videodevice path=\"/dev/video0\"/>",
                "rtspserver.xml:2:1: config/videodevice/@index: \"\" is not an index of a camera; allowed: 0 to 255"
                    .to_owned(),
            ),
            (
                "<videodevice index=\"0\" path=\"video0\"/>",
                format!(
                    "rtspserver.xml:2:1: config/videodevice/@path: \"video0\" is not a device file; {allowed_path}"
                ),
            ),
            (
                "<videodevice index=\"3\" path=\"/dev/video0\"/>\n<videodevice index=\"3\" path=\"/dev/video1\"/>",
                "rtspserver.xml:3:1: config/videodevice/@index: 3 is taken in line 2; allowed: each index once"
                    .to_owned(),
            ),
        ] {
            assert_eq!(load(nodes).unwrap_err().to_string(), expected);
        }
    }
}
