//! Settings of what is made here: streams in another format, and what devices give.

use super::keys::{Key, SWITCH, SWITCH_ALLOWED, put, switch};
use super::values;
use crate::media::hardware::Wanted;

/// What is made here.
pub(super) const MAKING: &[Key] = &[
    Key {
        name: "transcode_unsupported",
        noun: SWITCH,
        allowed: SWITCH_ALLOWED,
        set: |s, v| put(&mut s.transcode_unsupported, values::switch(v)),
        show: |s| switch(s.transcode_unsupported),
    },
    Key {
        name: "transcode_threads",
        noun: "a number of threads",
        allowed: "0 to 256",
        set: |s, v| put(&mut s.transcode_threads, values::number(v, 0, 256)),
        show: |s| s.transcode_threads.to_string(),
    },
    Key {
        name: "max_transcodes",
        noun: "a number of streams and files",
        allowed: "0 to 256",
        set: |s, v| put(&mut s.max_transcodes, values::number(v, 0, 256)),
        show: |s| s.max_transcodes.to_string(),
    },
    Key {
        name: "keyframe_interval_s",
        noun: "a time in seconds",
        allowed: "1 to 60",
        set: |s, v| put(&mut s.keyframe_interval_s, values::number(v, 1, 60)),
        show: |s| s.keyframe_interval_s.to_string(),
    },
    Key {
        name: "hwaccel",
        noun: "something that encodes pictures",
        allowed: "auto, off, vaapi, nvenc, qsv, v4l2m2m",
        set: |s, v| put(&mut s.hwaccel, Wanted::parse(v)),
        show: |s| s.hwaccel.name().to_string(),
    },
    Key {
        name: "show_cursor",
        noun: SWITCH,
        allowed: SWITCH_ALLOWED,
        set: |s, v| put(&mut s.show_cursor, values::switch(v)),
        show: |s| switch(s.show_cursor),
    },
];
