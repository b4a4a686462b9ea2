//! Whatever is in the file: other codecs, and sound alone.

use super::{H265, MPEG4, SOUND, decoded, numbers, open, played, server};
use crate::client::viewer::BOTH;
use crate::server::{Backend, on_both_backends};

on_both_backends!(;
    "ffmpeg":
    pictures_of_other_codecs,
    sound_alone_goes_back_piece_by_piece,
);

fn pictures_of_other_codecs(backend: Backend) {
    let server = server(backend);
    for (path, group) in [(H265, 25), (MPEG4, 10)] {
        let all = decoded(path);
        assert_eq!(all, (0..50).collect::<Vec<_>>(), "{path} as it was made");
        for over in BOTH {
            // First, when it is not known yet where the keyframes are.
            let mut viewer = open(&server, path, over);
            let headers = [("Rate-Control", "no"), ("Scale", "-1.0")];
            let (_, pictures) = played(&mut viewer, &headers);
            let wanted = (0..50 / group).rev().flat_map(|number| number * group..(number + 1) * group);
            assert_eq!(numbers(&pictures), wanted.collect::<Vec<_>>(), "{over:?} {path}");
            let last = pictures.last().unwrap();
            assert!(last.terminal && last.ends, "{over:?} {path}: {last:?}");
            let mut viewer = open(&server, path, over);
            let (_, pictures) = played(&mut viewer, &[("Rate-Control", "no")]);
            assert_eq!(numbers(&pictures), all, "{over:?} {path}");
            assert!(pictures.iter().all(|unit| unit.clean == (unit.number % group == 0)), "{path}");
        }
    }
}

fn sound_alone_goes_back_piece_by_piece(backend: Backend) {
    let server = server(backend);
    for over in BOTH {
        let mut viewer = open(&server, SOUND, over);
        let (_, forward) = played(&mut viewer, &[("Rate-Control", "no")]);
        let mut viewer = open(&server, SOUND, over);
        let (_, backward) = played(&mut viewer, &[("Rate-Control", "no"), ("Scale", "-1.0")]);
        let seconds = |units: &[super::Unit]| units.iter().map(|unit| unit.seconds).collect::<Vec<_>>();
        assert!((140..146).contains(&forward.len()), "{over:?}: {} pieces", forward.len());
        assert!(seconds(&forward).is_sorted(), "{over:?}");
        assert_eq!(seconds(&backward), seconds(&forward).into_iter().rev().collect::<Vec<_>>(), "{over:?}");
        for units in [forward, backward] {
            let (last, others) = units.split_last().unwrap();
            assert!(last.terminal && last.ends && others.iter().all(|unit| !unit.terminal && !unit.ends));
        }
    }
}
